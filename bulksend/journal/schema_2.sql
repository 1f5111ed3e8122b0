-- What is gone from the snapshots at somebody's wish. Times are epoch seconds.

-- Entries of people who were removed: only a stand-in is left of them, which must never be sent.
CREATE TABLE forgotten (
    campaign_id TEXT NOT NULL REFERENCES campaign (id),
    chunk       INTEGER NOT NULL,
    place       INTEGER NOT NULL,                -- place in the chunk
    PRIMARY KEY (campaign_id, chunk, place)
) STRICT, WITHOUT ROWID;

-- Campaigns whose list was removed for good.
CREATE TABLE pruned (
    campaign_id TEXT PRIMARY KEY REFERENCES campaign (id),
    at          REAL NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
