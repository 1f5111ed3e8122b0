-- Why whoever sends lets nothing go out, as he tells it: for people who look from elsewhere.
CREATE TABLE standstill (
    holder      TEXT NOT NULL,                   -- who tells it
    account     TEXT NOT NULL,                   -- of a whole account and Region, '' if of one campaign
    region      TEXT NOT NULL,
    campaign_id TEXT NOT NULL,                   -- '' if of a whole account and Region
    reason      TEXT NOT NULL,                   -- in words, without addresses
    until       REAL NOT NULL,                   -- epoch seconds: it is told again before, or is over
    PRIMARY KEY (holder, account, region, campaign_id)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 5;
