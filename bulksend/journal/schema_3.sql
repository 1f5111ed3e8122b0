-- A campaign may be queued for a worker, and has a schedule. SQLite changes no CHECK: the table is made anew. Foreign
-- keys must be off.

CREATE TABLE campaign_3 (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    state           TEXT NOT NULL
        CHECK (state IN ('planned', 'queued', 'sending', 'paused', 'halted', 'cancelled', 'finished')),
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
    schedule        TEXT NOT NULL,               -- JSON object: priority, not_before, window
    halt            TEXT                         -- JSON object: reason, remedy, scope
) STRICT;
INSERT INTO campaign_3
SELECT id, name, state, created_at, account, region, endpoint_url, prefix, suffix, frozen, list_digest, snapshot,
       snapshot_bytes, snapshot_sha256, rows, entries, recipients, skipped, policy, '{}', halt
FROM campaign;
DROP TABLE campaign;
ALTER TABLE campaign_3 RENAME TO campaign;

-- What may be removed from the shelf: snapshots that are being made, and those that no campaign has any more. All others
-- stay, whoever made them.
CREATE TABLE leftover (
    name   TEXT PRIMARY KEY,                     -- of the snapshot's file
    doomed INTEGER NOT NULL DEFAULT FALSE        -- it is being removed: no campaign can have it
) STRICT, WITHOUT ROWID;

-- What tells this store from all others: one row.
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id  TEXT NOT NULL
) STRICT;
INSERT INTO store VALUES (1, lower(hex(randomblob(16))));

PRAGMA user_version = 3;
