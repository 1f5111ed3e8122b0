-- What SES reports of mails, and whom not to write to. Times are epoch seconds. Whoever records events of a campaign has
-- its row of `heard` alone until his transaction ends: so every number here is exact.

-- Campaigns of which anything was heard.
CREATE TABLE heard (
    campaign_id text PRIMARY KEY,
    last_at     double precision,                -- when the latest event was recorded
    pruned      boolean NOT NULL DEFAULT false   -- addresses and texts are not kept, nor will be
) WITH (fillfactor = 20);

-- Each message id of each row. Whoever adds one has looked for it before.
CREATE TABLE mail (
    id          bigint PRIMARY KEY,
    campaign_id text NOT NULL,
    row         bigint NOT NULL,
    message_id  text NOT NULL,
    sent_at     double precision NOT NULL,
    befell      integer NOT NULL                 -- a bit for whatever befell it (befell.py)
) WITH (fillfactor = 80);
CREATE SEQUENCE mail_id;
CREATE INDEX mail_of_row ON mail (campaign_id, row);
CREATE INDEX mail_of_message ON mail (message_id);

-- Events of mails with our tags, each once.
CREATE TABLE event (
    mail       bigint NOT NULL,                  -- mail.id
    key        bytea NOT NULL,                   -- 16 bytes; the same for every copy of a report
    type       text NOT NULL,
    at         double precision NOT NULL,
    recipients text NOT NULL,                    -- each with a newline before and after it; '' for none
    bounce     text,
    subtype    text NOT NULL,
    detail     text NOT NULL,
    PRIMARY KEY (mail, key)
);

-- Mails that SES had accepted and did not send.
CREATE TABLE refusal (
    campaign_id text NOT NULL,
    mail        bigint NOT NULL,                 -- mail.id
    PRIMARY KEY (campaign_id, mail)
);

-- Events without our tags: they are counted, no more.
CREATE TABLE untagged (
    key  bytea PRIMARY KEY,
    type text NOT NULL
);

-- Mails by what became of them, by the second in which they were sent: each in one of the first three.
CREATE TABLE sent (
    campaign_id text NOT NULL,
    second      bigint NOT NULL,
    delivered   bigint NOT NULL,
    bounced     bigint NOT NULL,
    unsent      bigint NOT NULL,
    complained  bigint NOT NULL,
    PRIMARY KEY (campaign_id, second)
) WITH (fillfactor = 50);

-- Rows whose reader has unsubscribed by the link in the mail, which is our own: no event of SES tells of that.
CREATE TABLE unsubscription (
    campaign_id text NOT NULL,
    row         bigint NOT NULL,
    at          double precision NOT NULL,
    PRIMARY KEY (campaign_id, row)
);

-- Rows by what befell them: a type of events, a kind of bounces, 'mails' (anything) or 'copies' (two mails,
-- and SES refused neither).
CREATE TABLE became (
    campaign_id text NOT NULL,
    what        text NOT NULL,
    rows        bigint NOT NULL,
    PRIMARY KEY (campaign_id, what)
) WITH (fillfactor = 20);

-- Whom not to write to. Whoever adds some holds an advisory lock, so that numbers become visible in their order.
CREATE TABLE suppression (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address text COLLATE "C" NOT NULL UNIQUE,
    reason  text NOT NULL CHECK (reason IN ('bounce', 'complaint', 'unsubscribe', 'manual')),
    source  text NOT NULL,
    at      double precision NOT NULL
);
