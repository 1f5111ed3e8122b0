-- The journal: one row per batch, never one per recipient. Times are epoch seconds.

CREATE TABLE campaign (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    state           TEXT NOT NULL CHECK (state IN ('planned', 'sending', 'paused', 'halted', 'cancelled', 'finished')),
    created_at      REAL NOT NULL,
    account         TEXT NOT NULL,
    region          TEXT NOT NULL,
    endpoint_url    TEXT NOT NULL,
    prefix          BLOB NOT NULL,
    suffix          BLOB NOT NULL,
    frozen          TEXT NOT NULL,               -- JSON object: key of the campaign file → its value
    list_digest     TEXT NOT NULL,
    snapshot        TEXT NOT NULL,               -- file name within the store's snapshots folder
    snapshot_bytes  INTEGER NOT NULL,
    snapshot_sha256 TEXT NOT NULL,
    rows            INTEGER NOT NULL,
    entries         INTEGER NOT NULL,
    recipients      INTEGER NOT NULL,
    skipped         TEXT NOT NULL,               -- JSON object: reason → number of rows
    policy          TEXT NOT NULL,               -- JSON object: resend_in_doubt, max_attempts
    halt            TEXT                         -- JSON object: reason, remedy, scope
) STRICT;

-- A chunk is open until all its entries are final; `done` saves resuming from looking at every one.
CREATE TABLE chunk (
    campaign_id TEXT NOT NULL REFERENCES campaign (id),
    number      INTEGER NOT NULL,
    entries     INTEGER NOT NULL,
    recipients  INTEGER NOT NULL,
    done        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_id, number)
) STRICT, WITHOUT ROWID;

-- The durable intent to send a batch. Neighbours in the chunk are first and count; others are listed in indices (JSON).
CREATE TABLE attempt (
    id          INTEGER PRIMARY KEY,
    campaign_id TEXT NOT NULL,
    chunk       INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    indices     TEXT,
    recipients  INTEGER NOT NULL,
    holder      TEXT NOT NULL,                   -- the process that sends it
    at          REAL NOT NULL
) STRICT;
CREATE INDEX attempt_of_chunk ON attempt (campaign_id, chunk);

-- Who may make intents: one row, the process that entered the store last. A lock file alone could be removed.
CREATE TABLE holder (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL
) STRICT;

-- What SES said. No row: in flight while the holder lives, else in doubt.
CREATE TABLE outcome (
    attempt_id  INTEGER PRIMARY KEY REFERENCES attempt (id),
    at          REAL NOT NULL,
    spent       INTEGER NOT NULL,                -- recipients that count against the quota: accepted or in doubt
    message_ids TEXT NOT NULL,                   -- JSON array by place in the batch; "" where there is none
    exceptions  TEXT                             -- JSON array of [place, verdict, status, reason, due_at]; NULL: all accepted
) STRICT;

-- What an event or a person decided of one entry of one attempt.
CREATE TABLE settlement (
    id          INTEGER PRIMARY KEY,
    attempt_id  INTEGER NOT NULL REFERENCES attempt (id),
    place       INTEGER NOT NULL,                -- place in the chunk
    verdict     TEXT NOT NULL CHECK (verdict IN ('accepted', 'resend', 'drop', 'returned')),
    evidence    TEXT NOT NULL,
    at          REAL NOT NULL,
    UNIQUE (attempt_id, place, verdict)
) STRICT;

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

PRAGMA user_version = 1;
