-- Accounts, registrations that wait for their proof, sessions, signing keys.

-- Accounts. A row exists only once its address is proven, or was given by whoever runs the program.
CREATE TABLE identity.users (
    user_id         uuid        PRIMARY KEY,
    -- As it was typed: mail goes there. 254 bytes are what SMTP carries (RFC 5321 §4.5.3.1.3).
    email           text        NOT NULL CHECK (octet_length(email) BETWEEN 3 AND 254),
    -- What makes an address unique. Collation "C" folds ASCII alone, whatever the database's own
    -- does (a Turkish one makes I a dotless i), and its order survives upgrades of the system's
    -- locale data, which corrupt other indexes of text.
    email_canonical text        COLLATE "C" NOT NULL
                                GENERATED ALWAYS AS (lower(email COLLATE "C")) STORED,
    -- A PHC string: algorithm, cost and salt stand in it, so that the cost can be raised later.
    password_hash   text        NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    display_name    text        CHECK (char_length(display_name) BETWEEN 1 AND 100),
    -- BCP 47; 35 characters hold every tag without extensions (RFC 5646 §4.4.1).
    locale          text        NOT NULL CHECK (char_length(locale) BETWEEN 2 AND 35),
    -- IANA.
    time_zone       text        NOT NULL CHECK (char_length(time_zone) BETWEEN 1 AND 64),
    -- A closed list: a role that is misspelt here would lie in wait for a check that is spelt so.
    roles           text[]      NOT NULL CHECK (roles <@ '{user,admin}' AND 'user' = ANY (roles)),
    registered_at   timestamptz NOT NULL,
    -- The guarantee behind "exactly one wins": two registrations of an address, a registration and
    -- the setup page. Sign-in finds accounts by it.
    CONSTRAINT users_email_canonical_key UNIQUE (email_canonical)
);

-- "Is there an administrator?" is asked at every start and by the setup page.
CREATE INDEX users_admin_idx ON identity.users (user_id) WHERE 'admin' = ANY (roles);

-- Registrations that wait for the code that was mailed. Deleted when proven, purged when expired.
CREATE TABLE identity.registrations (
    registration_id  uuid        PRIMARY KEY,
    email            text        NOT NULL CHECK (octet_length(email) BETWEEN 3 AND 254),
    email_canonical  text        COLLATE "C" NOT NULL
                                 GENERATED ALWAYS AS (lower(email COLLATE "C")) STORED,
    -- Set when the address had an account already. Such a row can never be proven: it stands so
    -- that answers, their timing and the bounds on mails are those of any other registration.
    -- No foreign key: it outlives the account by half an hour at most.
    existing_user_id uuid,
    password_hash    text        CHECK (password_hash LIKE '$argon2id$%'),
    display_name     text        CHECK (char_length(display_name) BETWEEN 1 AND 100),
    locale           text        NOT NULL CHECK (char_length(locale) BETWEEN 2 AND 35),
    time_zone        text        NOT NULL CHECK (char_length(time_zone) BETWEEN 1 AND 64),
    -- HMAC of registration and code under a key that is not in this database: six digits hashed
    -- without one are found by trying them all.
    code_digest      bytea       NOT NULL CHECK (octet_length(code_digest) = 32),
    -- Counted down in the statement that reads the digest, so that guesses in parallel count too.
    attempts_left    smallint    NOT NULL CHECK (attempts_left >= 0),
    resends_left     smallint    NOT NULL CHECK (resends_left >= 0),
    resend_after     timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL CHECK (expires_at > created_at),
    -- What somebody typed for an account that is not theirs is not kept.
    CONSTRAINT registrations_decoy_check
        CHECK ((existing_user_id IS NULL) = (password_hash IS NOT NULL))
-- Counting down touches no index: room for the new row version on the same page.
) WITH (fillfactor = 80);

-- How many wait for an address: each is a mail to somebody who may not have asked for it.
CREATE INDEX registrations_address_idx ON identity.registrations (email_canonical, expires_at);
-- The purge.
CREATE INDEX registrations_expires_at_idx ON identity.registrations (expires_at);

-- Sessions, each a family of refresh tokens. No token is stored, nor a digest of one: a token is an
-- HMAC of the session and its generation under a key that is not in this database, and the newest
-- generation given out is all that has to be known. A session that ends is deleted.
CREATE TABLE identity.sessions (
    session_id       uuid        PRIMARY KEY,
    user_id          uuid        NOT NULL REFERENCES identity.users ON DELETE CASCADE,
    -- Of the newest refresh token. The one before it is answered again with the same successor, for
    -- a while after `rotated_at`; later, and any older one, it was stolen, by whoever presents it
    -- or from them.
    generation       bigint      NOT NULL CHECK (generation > 0),
    -- When the newest refresh token was first given out.
    rotated_at       timestamptz NOT NULL,
    started_at       timestamptz NOT NULL,
    -- Moves with every use, never beyond expires_at: this alone says whether the session lives.
    idle_expires_at  timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    -- Of the last access token given out: until then verifiers must refuse an ended session.
    tokens_expire_at timestamptz NOT NULL,
    CONSTRAINT sessions_lifetime_check CHECK (idle_expires_at <= expires_at)
);

-- The oldest of a user's sessions, when there are too many; also what the foreign key looks up.
CREATE INDEX sessions_user_idx ON identity.sessions (user_id, session_id);
-- The job that ends what has expired.
CREATE INDEX sessions_idle_expires_at_idx ON identity.sessions (idle_expires_at);

-- Keys that access tokens are signed with. Deleted, private part and all, when every token signed
-- with them has expired. A handful of rows: no index but the key.
CREATE TABLE identity.signing_keys (
    -- RFC 7638 thumbprint of the public key.
    kid          text        PRIMARY KEY,
    -- The public key (RFC 7517).
    jwk          jsonb       NOT NULL,
    -- PKCS#8, encrypted with AES-256-GCM for this kid under a key that is not in this database.
    private_key  bytea       NOT NULL,
    published_at timestamptz NOT NULL,
    -- Not before then does it sign, so that every verifier knows it first.
    active_from  timestamptz NOT NULL CHECK (active_from >= published_at)
);
-- A key comes and goes; it never changes.
REVOKE UPDATE ON identity.signing_keys FROM banyan_identity;

-- One-time codes of the page that makes the first administrator: each start shows one, and all of
-- them go with the first that is used.
CREATE TABLE identity.setup_codes (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    expires_at timestamptz NOT NULL
);
