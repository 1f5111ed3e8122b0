-- The journal on PostgreSQL: one row per batch, never one per recipient. Times are epoch seconds of the database's clock.

CREATE FUNCTION store_now() RETURNS double precision LANGUAGE sql VOLATILE
AS $$ SELECT extract(epoch FROM clock_timestamp())::double precision $$;

CREATE TABLE campaign (
    id              text PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    state           text NOT NULL
        CHECK (state IN ('planned', 'queued', 'sending', 'paused', 'halted', 'cancelled', 'finished')),
    created_at      double precision NOT NULL,
    account         text NOT NULL,
    region          text NOT NULL,
    endpoint_url    text NOT NULL,
    prefix          bytea NOT NULL,
    suffix          bytea NOT NULL,
    frozen          jsonb NOT NULL,              -- key of the campaign file → its value
    list_digest     text NOT NULL,
    snapshot        text NOT NULL,               -- file name on the store's shelf
    snapshot_bytes  bigint NOT NULL,
    snapshot_sha256 text NOT NULL,
    rows            bigint NOT NULL,
    entries         bigint NOT NULL,
    recipients      bigint NOT NULL,
    skipped         jsonb NOT NULL,              -- reason → number of rows
    policy          jsonb NOT NULL,              -- resend_in_doubt, max_attempts
    schedule        jsonb NOT NULL,              -- priority, not_before, window
    halt            jsonb                        -- reason, remedy, scope
);

-- A chunk is open until all its entries are final. Who holds it under which epoch may make intents in it until the lease
-- runs out; whoever takes it up next raises the epoch first.
CREATE TABLE chunk (
    campaign_id text NOT NULL REFERENCES campaign (id),
    number      integer NOT NULL,
    entries     integer NOT NULL,
    recipients  integer NOT NULL,
    done        boolean NOT NULL DEFAULT false,
    epoch       bigint NOT NULL DEFAULT 0,
    holder      text,
    leased_until double precision,               -- null: nobody's
    due_at      double precision,                -- nothing of it may go before
    decisions   bigint NOT NULL DEFAULT 0,       -- raised by whatever is decided of its entries
    PRIMARY KEY (campaign_id, number)
) WITH (fillfactor = 70);
CREATE INDEX chunk_open ON chunk (campaign_id, number) WHERE NOT done;
CREATE INDEX chunk_held ON chunk (holder) WHERE holder IS NOT NULL;

-- Each worker takes ids a block at a time, and begins a new one with each chunk: an attempt on a chunk has a greater id
-- than those before it.
CREATE SEQUENCE attempt_block;

-- The durable intent to send a batch. Neighbours in the chunk are first and count; others are listed in indices.
CREATE TABLE attempt (
    id          bigint PRIMARY KEY,
    campaign_id text NOT NULL,
    chunk       integer NOT NULL,
    epoch       bigint NOT NULL,
    first       integer NOT NULL,
    count       integer NOT NULL,
    indices     integer[],
    recipients  integer NOT NULL,
    holder      text NOT NULL,                   -- the worker that sends it
    at          double precision NOT NULL,
    FOREIGN KEY (campaign_id, chunk) REFERENCES chunk (campaign_id, number)
);
CREATE INDEX attempt_of_chunk ON attempt (campaign_id, chunk);
CREATE INDEX attempt_at ON attempt USING brin (at);

-- What SES said. No row: in flight while the attempt's epoch is the chunk's and its lease lives, else in doubt.
CREATE TABLE outcome (
    attempt_id  bigint PRIMARY KEY REFERENCES attempt (id),
    at          double precision NOT NULL,
    spent       integer NOT NULL,                -- recipients that count against the quota: accepted or in doubt
    message_ids text[] NOT NULL,                 -- by place in the batch; '' where there is none
    exceptions  jsonb                            -- [place, verdict, status, reason, due_at] each; null: all accepted
);

-- What an event or a person decided of one entry of one attempt.
CREATE TABLE settlement (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attempt_id  bigint NOT NULL REFERENCES attempt (id),
    place       integer NOT NULL,                -- place in the chunk
    verdict     text NOT NULL CHECK (verdict IN ('accepted', 'resend', 'drop', 'returned')),
    evidence    text NOT NULL,
    at          double precision NOT NULL,
    UNIQUE (attempt_id, place, verdict)
);

-- Entries of people who were removed: only a stand-in is left of them, which must never be sent.
CREATE TABLE forgotten (
    campaign_id text NOT NULL REFERENCES campaign (id),
    chunk       integer NOT NULL,
    place       integer NOT NULL,                -- place in the chunk
    PRIMARY KEY (campaign_id, chunk, place)
);

-- Campaigns whose list was removed for good.
CREATE TABLE pruned (
    campaign_id text PRIMARY KEY REFERENCES campaign (id),
    at          double precision NOT NULL
);

-- What may be removed from the shelf: snapshots that are being made, and those that no campaign has any more. All others
-- stay, whoever made them.
CREATE TABLE leftover (
    name   text PRIMARY KEY,                     -- of the snapshot's file
    doomed boolean NOT NULL DEFAULT false        -- it is being removed: no campaign can have it
);

-- What tells this store from all others: one row.
CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id  text NOT NULL
);
INSERT INTO store (id) VALUES (replace(gen_random_uuid()::text, '-', ''));

-- Which database this is, and when a worker last saw that it is the same one: one row.
CREATE TABLE identity (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    system_identifier text NOT NULL,
    timeline          text NOT NULL,
    seen_at           double precision NOT NULL,
    reaped_at         double precision NOT NULL DEFAULT 0      -- when a worker last looked after idle chunks
);

-- For people with a SQL prompt: every entry of every attempt, with what came of it.
CREATE VIEW entry_attempt AS
SELECT a.campaign_id, a.chunk, i.place, a.id AS attempt_id, a.at AS sent_at, o.at AS answered_at,
       CASE WHEN o.attempt_id IS NULL THEN 'unanswered' ELSE coalesce(e.value ->> 1, 'accepted') END AS verdict,
       CASE WHEN o.attempt_id IS NULL THEN NULL ELSE coalesce(e.value ->> 2, 'SUCCESS') END AS status,
       e.value ->> 3 AS reason, nullif(o.message_ids[i.n], '') AS message_id,
       (SELECT string_agg(s.verdict, ',') FROM settlement AS s WHERE s.attempt_id = a.id AND s.place = i.place) AS settled
FROM attempt AS a
CROSS JOIN LATERAL unnest(coalesce(
    a.indices, ARRAY (SELECT generate_series(a.first, a.first + a.count - 1))
)) WITH ORDINALITY AS i (place, n)
LEFT JOIN outcome AS o ON o.attempt_id = a.id
LEFT JOIN LATERAL jsonb_array_elements(coalesce(o.exceptions, '[]')) AS e (value) ON (e.value ->> 0)::integer = i.n - 1;
