-- The timeline of a delivery: each try, what came of it, and what the server said. Never what was sent.
CREATE TABLE notification.attempts (
    id          bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    delivery_id uuid        NOT NULL
                REFERENCES notification.deliveries ON DELETE CASCADE,
    -- From 1; again from 1 when an administrator has it sent once more.
    number      integer     NOT NULL CHECK (number > 0),
    -- 'sent', 'queued' (to be tried again), or how else the delivery ended.
    outcome     text        NOT NULL CHECK (char_length(outcome) <= 20),
    reply       text        CHECK (char_length(reply) <= 500),
    ended_at    timestamptz NOT NULL
);
CREATE INDEX attempts_delivery_idx ON notification.attempts (delivery_id, id);

-- The list for administrators, newest first, of everybody and of one person.
CREATE INDEX deliveries_created_idx ON notification.deliveries (created_at, id);
CREATE INDEX deliveries_user_idx ON notification.deliveries (user_id, created_at, id)
    WHERE user_id IS NOT NULL;
