-- A campaign has its safety, and events may decide that what SES accepted was not sent after all. Times are epoch seconds.
ALTER TABLE campaign
    ADD COLUMN safety           jsonb NOT NULL DEFAULT '{}',      -- canary, ramp, breaker
    ADD COLUMN armed_at         double precision,                 -- the breaker judges what was sent since then
    ADD COLUMN canary_passed_at double precision;

ALTER TABLE settlement DROP CONSTRAINT settlement_verdict_check;
ALTER TABLE settlement ADD CONSTRAINT settlement_verdict_check
    CHECK (verdict IN ('accepted', 'resend', 'drop', 'returned', 'refused'));
