-- A browser's session is named by a handle in a cookie, of which only the SHA-256 is here: the handle is
-- random, and long enough that nobody finds it by trying. It has no refresh token.
ALTER TABLE identity.sessions ADD COLUMN handle_digest bytea CHECK (octet_length(handle_digest) = 32);
CREATE UNIQUE INDEX sessions_handle_digest_key ON identity.sessions (handle_digest)
    WHERE handle_digest IS NOT NULL;
