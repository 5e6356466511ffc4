-- Whether this schema is the one that serves its module, or a copy on either side of a move from one
-- database to another. The owner alone changes it; while it is not `here` the runtime role has no
-- USAGE of the schema, and that is what holds: this row says why.
--
-- A target has this table before any other, so that it never looks like a schema that may serve.
CREATE TABLE IF NOT EXISTS {schema}.place (
    one       boolean     PRIMARY KEY DEFAULT true CHECK (one),
    -- Tells this schema from every other copy, however its database is addressed.
    id        uuid        NOT NULL DEFAULT gen_random_uuid(),
    -- `moving` away from here; `arriving`: filled by a move that has not ended; `moved`: what is here
    -- is old, and kept until somebody drops it.
    state     text        NOT NULL DEFAULT 'here'
              CHECK (state IN ('here', 'moving', 'arriving', 'moved')),
    -- The schema at the other end, and its database for people: server and name, no password.
    peer      uuid,
    peer_name text,
    since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT place_peer_check CHECK ((state = 'here') = (peer IS NULL))
);
INSERT INTO {schema}.place DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Whoever serves looks at it now and then.
REVOKE ALL ON {schema}.place FROM {runtime};
GRANT SELECT ON {schema}.place TO {runtime};
