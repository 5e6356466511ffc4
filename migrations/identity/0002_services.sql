-- Services: programs that sign in with a secret of their own. Never deleted, so that the id of a
-- former one, which stands in the audit trail, does not come to mean another.
CREATE TABLE identity.services (
    -- Chosen by the operator. Shorter than any spelling of a UUID: in tokens it stands where a
    -- user's id does (RFC 9068 §5 warns of the two being mixed up).
    client_id       text        COLLATE "C" PRIMARY KEY
                                CHECK (client_id ~ '^[a-z][a-z0-9-]{0,29}$'),
    display_name    text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    -- All that its tokens may carry. Bounded, as tokens are.
    scopes          text[]      NOT NULL
                                CHECK (cardinality(scopes) > 0
                                       AND octet_length(array_to_string(scopes, ' ')) <= 1024),
    -- SHA-256: the secret is random, and long enough that nobody finds it by trying.
    secret_digest   bytea       NOT NULL CHECK (octet_length(secret_digest) = 32),
    -- The secret before, until everybody has the new one. There is room for no third.
    previous_digest bytea       CHECK (octet_length(previous_digest) = 32),
    previous_until  timestamptz,
    -- When its tokens are issued at the earliest, even if it is a moment from now: those issued
    -- before were revoked, and a token tells the time in whole seconds.
    tokens_from     timestamptz,
    created_at      timestamptz NOT NULL,
    disabled_at     timestamptz,
    -- A file of a secret that is given for another service by mistake makes no second of it.
    CONSTRAINT services_secret_digest_key UNIQUE (secret_digest),
    CONSTRAINT services_previous_check
        CHECK ((previous_digest IS NULL) = (previous_until IS NULL))
);
REVOKE DELETE ON identity.services FROM banyan_identity;
