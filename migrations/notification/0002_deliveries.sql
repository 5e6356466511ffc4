-- Messages to be handed to the outside. The row is the job: what is to be sent was copied when the
-- event arrived, and a worker claims it by a lease. Rendered text is never stored.
CREATE TABLE notification.deliveries (
    id              uuid        PRIMARY KEY,
    channel         text        NOT NULL CHECK (channel IN ('email')),
    -- None when the address has no account yet.
    user_id         uuid,
    address         text        NOT NULL CHECK (char_length(address) <= 320),
    template        text        NOT NULL,
    -- The language tag as it was asked for; which translation it gets is decided at rendering.
    locale          text        NOT NULL CHECK (char_length(locale) <= 35),
    -- What the template needs. A secret in it is sealed, and goes when the message is done with.
    data            jsonb       NOT NULL CHECK (octet_length(data::text) <= 8192),
    -- Codes overtake what can wait.
    urgent          boolean     NOT NULL,
    -- Recipient, template and cause: however often an event is handled, it makes one message.
    idempotency_key text        NOT NULL CONSTRAINT deliveries_idempotency_key UNIQUE,
    -- The Message-ID (RFC 5322 §3.6.4), the same at every try: should a process die between the
    -- server's acceptance and the note of it, the two copies can be told to be one.
    message_id      text        NOT NULL,

    status          text        NOT NULL DEFAULT 'queued'
                    CHECK (status IN ('queued', 'sending', 'sent', 'failed', 'expired')),
    -- Counted when a try begins: a message that kills the process gives up in the end too.
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL,
    -- Who is sending it. An outcome counts only under the lease that the try began with: a process
    -- that was paused past its lease changes nothing.
    lease           uuid,
    -- By the database's clock, which all instances share.
    leased_until    timestamptz,
    last_error      text        CHECK (char_length(last_error) <= 500),
    -- Past this it tells nothing that is still true.
    expires_at      timestamptz NOT NULL,

    -- The trace of the request that it goes back to, and the event that caused it.
    traceparent     text        NOT NULL CHECK (char_length(traceparent) <= 64),
    trace_id        text        NOT NULL
                    GENERATED ALWAYS AS (split_part(traceparent, '-', 2)) STORED,
    correlation_id  text        NOT NULL CHECK (char_length(correlation_id) <= 128),
    event_id        uuid        NOT NULL,

    created_at      timestamptz NOT NULL,
    -- When it was sent, or given up.
    finished_at     timestamptz,

    CONSTRAINT deliveries_lease_check CHECK (
        (status = 'sending') = (lease IS NOT NULL)
        AND (status = 'sending') = (leased_until IS NOT NULL)),
    CONSTRAINT deliveries_finished_check CHECK (
        (status IN ('sent', 'failed', 'expired')) = (finished_at IS NOT NULL))
) WITH (
    fillfactor = 80,
    -- Every row changes a few times within seconds, and the claim reads what is live: dead rows are
    -- cleared by number, not by a share of a table that keeps a month.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000
);

-- What is due, the urgent apart: a claim takes from the front of each.
CREATE INDEX deliveries_urgent_idx ON notification.deliveries (next_attempt_at)
    WHERE status = 'queued' AND urgent;
CREATE INDEX deliveries_queued_idx ON notification.deliveries (next_attempt_at)
    WHERE status = 'queued' AND NOT urgent;
-- What a lost worker left behind.
CREATE INDEX deliveries_leased_idx ON notification.deliveries (leased_until)
    WHERE status = 'sending';
-- What has been kept long enough.
CREATE INDEX deliveries_finished_idx ON notification.deliveries (finished_at)
    WHERE finished_at IS NOT NULL;
