-- What services asked to have told: one row for each request, for them to look up what became of it.
CREATE TABLE notification.sends (
    id         uuid        PRIMARY KEY,
    -- 'service:<client id>': nobody else may look.
    sender     text        NOT NULL CHECK (char_length(sender) <= 200),
    category   text        NOT NULL CHECK (char_length(category) <= 32),
    created_at timestamptz NOT NULL
);
CREATE INDEX sends_created_at_idx ON notification.sends USING brin (created_at);

ALTER TABLE notification.deliveries
    ADD COLUMN send_id uuid,
    -- What a service says may be 4,000 characters, of up to four bytes.
    DROP CONSTRAINT deliveries_data_check,
    ADD CONSTRAINT deliveries_data_check CHECK (octet_length(data::text) <= 32768);
ALTER TABLE notification.notifications
    ADD COLUMN send_id uuid,
    DROP CONSTRAINT notifications_data_check,
    ADD CONSTRAINT notifications_data_check CHECK (octet_length(data::text) <= 32768);

CREATE INDEX deliveries_send_idx ON notification.deliveries (send_id) WHERE send_id IS NOT NULL;
CREATE INDEX notifications_send_idx ON notification.notifications (send_id)
    WHERE send_id IS NOT NULL;

-- Answers to requests that may be repeated: see kernel::idempotency.
CREATE TABLE notification.idempotency_keys (
    principal   text        NOT NULL CHECK (char_length(principal) <= 200),
    key         text        NOT NULL CHECK (char_length(key) <= 200),
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    status      smallint,
    body        text        CHECK (octet_length(body) <= 262144),
    created_at  timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON notification.idempotency_keys
    USING brin (created_at);
