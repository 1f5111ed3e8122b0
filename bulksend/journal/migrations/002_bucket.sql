-- The quota that workers share: one row per account and region. Times are epoch seconds of the database's clock, amounts
-- are recipients.
CREATE TABLE bucket (
    account             text NOT NULL,           -- the account's id, or the URL of an endpoint that stands for it
    region              text NOT NULL,
    -- What GetAccount said last; null before the first time.
    max_send_rate_per_s double precision,
    max_24_hour_send    double precision,        -- null: unlimited
    sent_last_24_hours  double precision,
    sending_enabled     boolean,
    production_access   boolean,
    enforcement_status  text,
    read_at             double precision,        -- when it was asked for what is said here
    -- Who asks: one worker, until then.
    asked_at            double precision,
    reading_until       double precision,
    readings            bigint NOT NULL DEFAULT 0,             -- how often it was asked
    -- The 24 hours.
    own_24_hours        double precision NOT NULL DEFAULT 0,   -- sent in them by the journal, at that reading
    since_read          double precision NOT NULL DEFAULT 0,   -- given out since GetAccount was asked
    before_read         double precision NOT NULL DEFAULT 0,   -- given out before, while its answer is awaited
    told_spent_at       double precision,        -- SES has said that the day is spent
    -- What is given out. A slice begins where the one before it ends; given, begins and per_s are of the latest.
    given_until         double precision NOT NULL DEFAULT 0,
    given               double precision NOT NULL DEFAULT 0,   -- 0: whoever asked last got nothing
    begins              double precision NOT NULL DEFAULT 0,
    per_s               double precision NOT NULL DEFAULT 1,
    -- What SES's throttling has made of the pace.
    factor              double precision NOT NULL DEFAULT 1,
    ceiling             double precision NOT NULL DEFAULT 1,
    steps_above         integer NOT NULL DEFAULT 0,
    cut_at              double precision NOT NULL DEFAULT 0,   -- what was sent before it knows nothing of the last cut
    stepped_at          double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (account, region)
) WITH (fillfactor = 20);
