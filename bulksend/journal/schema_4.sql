-- A campaign has its safety, and events may decide that what SES accepted was not sent after all. SQLite changes no CHECK:
-- the table is made anew. Foreign keys must be off. Times are epoch seconds.

ALTER TABLE campaign ADD COLUMN safety TEXT NOT NULL DEFAULT '{}';   -- JSON object: canary, ramp, breaker
ALTER TABLE campaign ADD COLUMN armed_at REAL;                       -- the breaker judges what was sent since then
ALTER TABLE campaign ADD COLUMN canary_passed_at REAL;

-- Whether there ever was a file of events: who is suppressed is in it, and nobody must think that nobody is if it is lost.
ALTER TABLE store ADD COLUMN has_events INTEGER NOT NULL DEFAULT FALSE;

DROP VIEW entry_attempt;
CREATE TABLE settlement_4 (
    id          INTEGER PRIMARY KEY,
    attempt_id  INTEGER NOT NULL REFERENCES attempt (id),
    place       INTEGER NOT NULL,                -- place in the chunk
    verdict     TEXT NOT NULL CHECK (verdict IN ('accepted', 'resend', 'drop', 'returned', 'refused')),
    evidence    TEXT NOT NULL,
    at          REAL NOT NULL,
    message_id  TEXT NOT NULL DEFAULT ''         -- of the mail that an event told of
) STRICT;
INSERT INTO settlement_4 (id, attempt_id, place, verdict, evidence, at)
SELECT id, attempt_id, place, verdict, evidence, at FROM settlement;
DROP TABLE settlement;
ALTER TABLE settlement_4 RENAME TO settlement;
CREATE INDEX settlement_of_entry ON settlement (attempt_id, place);

-- For people with a SQL prompt: every entry of every attempt, with what came of it.
CREATE VIEW entry_attempt AS
SELECT a.campaign_id, a.chunk, i.value AS place, a.id AS attempt_id, a.at AS sent_at, o.at AS answered_at,
       CASE WHEN o.attempt_id IS NULL THEN 'unanswered' ELSE coalesce(e.value ->> 1, 'accepted') END AS verdict,
       CASE WHEN o.attempt_id IS NULL THEN NULL ELSE coalesce(e.value ->> 2, 'SUCCESS') END AS status,
       e.value ->> 3 AS reason, nullif(o.message_ids ->> i.key, '') AS message_id,
       (SELECT group_concat(s.verdict) FROM settlement AS s WHERE s.attempt_id = a.id AND s.place = i.value) AS settled
FROM (
    SELECT *, coalesce(indices, (
        WITH RECURSIVE n (x) AS (SELECT first UNION ALL SELECT x + 1 FROM n WHERE x + 1 < first + count)
        SELECT json_group_array(x) FROM n
    )) AS places FROM attempt
) AS a
JOIN json_each(a.places) AS i
LEFT JOIN outcome AS o ON o.attempt_id = a.id
LEFT JOIN json_each(coalesce(o.exceptions, '[]')) AS e ON e.value ->> 0 = i.key;

PRAGMA user_version = 4;
