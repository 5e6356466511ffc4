-- What people tell of themselves, one row per account.
CREATE TABLE profile.profiles (
    -- identity's id of the account, learnt from its events: no foreign key crosses a schema.
    user_id      uuid        PRIMARY KEY,
    -- The bounds are the domain's too; here they hold whoever writes.
    display_name text        CHECK (char_length(display_name) BETWEEN 1 AND 100),
    bio          text        CHECK (char_length(bio) BETWEEN 1 AND 2000),
    -- BCP 47; 35 characters hold every tag without extensions (RFC 5646 §4.4.1).
    locale       text        NOT NULL CHECK (char_length(locale) BETWEEN 2 AND 35),
    -- IANA.
    time_zone    text        NOT NULL CHECK (char_length(time_zone) BETWEEN 1 AND 64),
    -- Grows by one with every change: the entity tag is made of it, and an edit of a state that is
    -- no longer the present one matches no row.
    version      bigint      NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
-- Room for a new row version on the same page: no indexed column ever changes.
) WITH (fillfactor = 80);
