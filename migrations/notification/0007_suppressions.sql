-- Addresses whose server said, for good, that they take no mail. Writing on to them makes other servers
-- take us for senders of spam. Codes and security notices are tried all the same: they are few, someone
-- waits for them, and what a server said a month ago may have been mended.
CREATE TABLE notification.suppressions (
    id          uuid        PRIMARY KEY,
    -- In lower case: no server in use tells addresses apart by case.
    address     text        NOT NULL CONSTRAINT suppressions_address_key UNIQUE
                CHECK (address = lower(address) AND char_length(address) <= 320),
    reason      text        NOT NULL CHECK (reason IN ('bounce')),
    -- The server's words.
    detail      text        NOT NULL CHECK (char_length(detail) <= 500),
    -- The mail that was refused; it goes before this does.
    delivery_id uuid        NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX suppressions_created_at_idx ON notification.suppressions (created_at, id);
CREATE INDEX suppressions_expires_at_idx ON notification.suppressions (expires_at);
