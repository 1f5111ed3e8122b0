-- A campaign has its safety, and events may decide that what SES accepted was not sent after all. Times are epoch seconds.
ALTER TABLE campaign
    ADD COLUMN safety           jsonb NOT NULL DEFAULT '{}',      -- canary, ramp, breaker
    ADD COLUMN armed_at         double precision,                 -- the breaker judges what was sent since then
    ADD COLUMN canary_passed_at double precision;

ALTER TABLE settlement DROP CONSTRAINT settlement_verdict_check;
ALTER TABLE settlement ADD CONSTRAINT settlement_verdict_check
    CHECK (verdict IN ('accepted', 'resend', 'drop', 'returned', 'refused'));
-- An entry may be accepted by the event of one mail, dead by that of another, and accepted again by a third.
ALTER TABLE settlement
    ADD COLUMN message_id text NOT NULL DEFAULT '',               -- of the mail that an event told of
    DROP CONSTRAINT settlement_attempt_id_place_verdict_key;
CREATE INDEX settlement_of_entry ON settlement (attempt_id, place);
