-- What SES reports of mails, and whom not to write to; beside the journal, in a file of its own. Times are epoch seconds.
-- Whoever records events of a campaign does it alone until his transaction ends: so every number here is exact.

-- Campaigns of which anything was heard.
CREATE TABLE heard (
    campaign_id TEXT PRIMARY KEY,
    last_at     REAL,                            -- when the latest event was recorded
    pruned      INTEGER NOT NULL DEFAULT FALSE   -- addresses and texts are not kept, nor will be
) STRICT, WITHOUT ROWID;

-- Each message id of each row. Whoever adds one has looked for it before.
CREATE TABLE mail (
    id          INTEGER PRIMARY KEY,
    campaign_id TEXT NOT NULL,
    row         INTEGER NOT NULL,
    message_id  TEXT NOT NULL,
    sent_at     REAL NOT NULL,
    befell      INTEGER NOT NULL                 -- a bit for whatever befell it (befell.py)
) STRICT;
CREATE INDEX mail_of_row ON mail (campaign_id, row);
CREATE INDEX mail_of_message ON mail (message_id);

-- Events of mails with our tags, each once.
CREATE TABLE event (
    mail       INTEGER NOT NULL,                 -- mail.id
    key        BLOB NOT NULL,                    -- 16 bytes; the same for every copy of a report
    type       TEXT NOT NULL,
    at         REAL NOT NULL,
    recipients TEXT NOT NULL,                    -- each with a newline before and after it; '' for none
    bounce     TEXT,
    subtype    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    PRIMARY KEY (mail, key)
) STRICT, WITHOUT ROWID;

-- Mails that SES had accepted and did not send.
CREATE TABLE refusal (
    campaign_id TEXT NOT NULL,
    mail        INTEGER NOT NULL,                -- mail.id
    PRIMARY KEY (campaign_id, mail)
) STRICT, WITHOUT ROWID;

-- Events without our tags: they are counted, no more.
CREATE TABLE untagged (
    key  BLOB PRIMARY KEY,
    type TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Mails by what became of them, by the second in which they were sent: each in one of the first three.
CREATE TABLE sent (
    campaign_id TEXT NOT NULL,
    second      INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    bounced     INTEGER NOT NULL,
    unsent      INTEGER NOT NULL,
    complained  INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, second)
) STRICT, WITHOUT ROWID;

-- Rows whose reader has unsubscribed by the link in the mail, which is our own: no event of SES tells of that.
CREATE TABLE unsubscription (
    campaign_id TEXT NOT NULL,
    row         INTEGER NOT NULL,
    at          REAL NOT NULL,
    PRIMARY KEY (campaign_id, row)
) STRICT, WITHOUT ROWID;

-- Rows by what befell them: a type of events, a kind of bounces, 'mails' (anything) or 'copies' (two mails,
-- and SES refused neither).
CREATE TABLE became (
    campaign_id TEXT NOT NULL,
    what        TEXT NOT NULL,
    rows        INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, what)
) STRICT, WITHOUT ROWID;

-- Whom not to write to. No number is ever used again.
CREATE TABLE suppression (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL UNIQUE,
    reason  TEXT NOT NULL CHECK (reason IN ('bounce', 'complaint', 'unsubscribe', 'manual')),
    source  TEXT NOT NULL,
    at      REAL NOT NULL
) STRICT;

PRAGMA user_version = 1;
