-- Why those who send let nothing go out, as they tell it: for people who look from elsewhere.
CREATE TABLE standstill (
    holder      text NOT NULL,                   -- who tells it
    account     text NOT NULL,                   -- of a whole account and Region, '' if of one campaign
    region      text NOT NULL,
    campaign_id text NOT NULL,                   -- '' if of a whole account and Region
    reason      text NOT NULL,                   -- in words, without addresses
    until       double precision NOT NULL,       -- epoch seconds: it is told again before, or is over
    PRIMARY KEY (holder, account, region, campaign_id)
) WITH (fillfactor = 20);
