-- The quota that workers share: one row per account and region. Times are epoch seconds of the database's clock.
CREATE TABLE bucket (
    account             text NOT NULL,           -- the account's id, or the URL of an endpoint that stands for it
    region              text NOT NULL,
    -- What GetAccount said last.
    max_send_rate_per_s double precision,
    max_24_hour_send    double precision,        -- null: unlimited
    sent_last_24_hours  double precision,
    sending_enabled     boolean,
    production_access   boolean,
    enforcement_status  text,
    read_at             double precision,        -- null: not read yet
    reading_until       double precision,        -- a worker is about it until then
    -- What is given out. A slice begins where the one before it ends.
    given_until         double precision NOT NULL DEFAULT 0,
    own_24_hours        double precision NOT NULL DEFAULT 0,   -- by the journal, at read_at
    since_read          double precision NOT NULL DEFAULT 0,   -- given out since GetAccount was asked
    before_read         double precision NOT NULL DEFAULT 0,   -- given out before it, while its answer is awaited
    told_spent_at       double precision,        -- SES has said that the day is spent
    -- What SES's throttling has made of the pace.
    factor              double precision NOT NULL DEFAULT 1,
    ceiling             double precision NOT NULL DEFAULT 1,
    steps_above         integer NOT NULL DEFAULT 0,
    cut_at              double precision NOT NULL DEFAULT 0,
    stepped_at          double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (account, region)
) WITH (fillfactor = 50);
