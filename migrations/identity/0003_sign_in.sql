-- Signing in by a mailed code, guesses that get slower, accounts that are shut out, and from which
-- devices people come.

-- An account may have no password: then a mailed code signs in.
ALTER TABLE identity.users ALTER COLUMN password_hash DROP NOT NULL;
ALTER TABLE identity.users ADD COLUMN suspended_at timestamptz;
-- When its tokens are issued at the earliest, even if it is a moment from now: those issued before
-- were revoked, and a token tells the time in whole seconds.
ALTER TABLE identity.users ADD COLUMN tokens_from timestamptz;

-- A decoy has no password; another registration may have none.
ALTER TABLE identity.registrations DROP CONSTRAINT registrations_decoy_check;
ALTER TABLE identity.registrations ADD CONSTRAINT registrations_decoy_check
    CHECK (existing_user_id IS NULL OR password_hash IS NULL);

-- What its owner knows a session by. Sessions of before have none of it.
ALTER TABLE identity.sessions ADD COLUMN device text CHECK (char_length(device) <= 100);
ALTER TABLE identity.sessions ADD COLUMN address text CHECK (char_length(address) <= 45);
ALTER TABLE identity.sessions ADD COLUMN last_used_at timestamptz;

-- Codes that were mailed, to sign in or to set a new password. Deleted when used, purged when expired.
CREATE TABLE identity.codes (
    code_id         uuid        PRIMARY KEY,
    purpose         text        NOT NULL CHECK (purpose IN ('sign_in', 'password_reset')),
    -- Whose: none when the address has no account, or one that is shut out. Such a row can never be
    -- used: it stands so that answers, their timing and the bounds on mails are those of any other.
    user_id         uuid        REFERENCES identity.users ON DELETE CASCADE,
    email_canonical text        COLLATE "C" NOT NULL CHECK (octet_length(email_canonical) <= 254),
    -- HMAC of id and code under a key that is not in this database.
    code_digest     bytea       NOT NULL CHECK (octet_length(code_digest) = 32),
    -- Counted down in the statement that reads the digest, so that guesses in parallel count too.
    attempts_left   smallint    NOT NULL CHECK (attempts_left >= 0),
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL CHECK (expires_at > created_at)
) WITH (fillfactor = 80);
-- How many wait for an address: each is a mail to somebody who may not have asked for it.
CREATE INDEX codes_address_idx ON identity.codes (email_canonical, expires_at);
-- The purge.
CREATE INDEX codes_expires_at_idx ON identity.codes (expires_at);
-- What the foreign key looks up.
CREATE INDEX codes_user_idx ON identity.codes (user_id);

-- Wrong guesses, in a row, at one account or from one network: from some number on, each costs a pause
-- that doubles. Shared by all instances.
CREATE TABLE identity.failures (
    -- HMAC of what is counted: addresses of strangers are nobody's business.
    key           bytea       PRIMARY KEY CHECK (octet_length(key) = 32),
    failures      integer     NOT NULL CHECK (failures >= 0),
    -- So many cost nothing.
    free          integer     NOT NULL,
    failed_at     timestamptz NOT NULL,
    -- None while failures cost no pause: an instance whose clock is a little behind must not take the
    -- time of a failure for one.
    blocked_until timestamptz
) WITH (fillfactor = 70);
-- The purge.
CREATE INDEX failures_failed_at_idx ON identity.failures (failed_at);

-- Devices and networks that an account was used from. A sign-in from another is told to its owner; and
-- guesses of strangers do not slow down who comes from one of these.
CREATE TABLE identity.familiar_clients (
    user_id       uuid        NOT NULL REFERENCES identity.users ON DELETE CASCADE,
    -- HMAC of device and network.
    client_digest bytea       NOT NULL CHECK (octet_length(client_digest) = 32),
    last_seen_at  timestamptz NOT NULL,
    PRIMARY KEY (user_id, client_digest)
) WITH (fillfactor = 80);
-- The purge.
CREATE INDEX familiar_clients_last_seen_at_idx ON identity.familiar_clients (last_seen_at);
