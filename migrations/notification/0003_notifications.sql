-- The last number given to each recipient. The row's lock makes the order of the numbers the order
-- of the commits: who has read up to a number has missed nothing before it.
CREATE TABLE notification.counters (
    user_id     uuid   PRIMARY KEY,
    last_number bigint NOT NULL CHECK (last_number > 0)
) WITH (fillfactor = 50);

-- What is shown in the app. Kind and data are stored, and put into words when they are read: a
-- person who changes their language finds all of it in the new one.
CREATE TABLE notification.notifications (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL,
    -- Dense from 1 per recipient: the id of the event on the live stream.
    number          bigint      NOT NULL CHECK (number > 0),
    kind            text        NOT NULL,
    data            jsonb       NOT NULL CHECK (octet_length(data::text) <= 8192),
    idempotency_key text        NOT NULL CONSTRAINT notifications_idempotency_key UNIQUE,
    event_id        uuid        NOT NULL,
    created_at      timestamptz NOT NULL,
    read_at         timestamptz,
    -- Also the index of the list, newest first.
    CONSTRAINT notifications_number_key UNIQUE (user_id, number)
);

-- How many are unread is counted from the rows themselves, so that it cannot drift.
CREATE INDEX notifications_unread_idx ON notification.notifications (user_id)
    WHERE read_at IS NULL;
-- What has been kept long enough: rows lie in order of this time, a few bytes per range suffice.
CREATE INDEX notifications_created_at_idx ON notification.notifications USING brin (created_at);
