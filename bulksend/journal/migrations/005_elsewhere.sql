-- Regions that mails leave from beside a bucket's own, by multi-region endpoints: whoever reads the quota reads theirs too.
CREATE TABLE elsewhere (
    account      text NOT NULL,                  -- as in bucket
    region       text NOT NULL,
    other        text NOT NULL,
    wanted_until double precision NOT NULL,      -- epoch seconds of the database's clock
    PRIMARY KEY (account, region, other)
) WITH (fillfactor = 20);
