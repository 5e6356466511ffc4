-- The bus in a module's schema: the publisher's half, then the subscriber's.
-- {schema} and {runtime} are replaced by the module's validated names.

-- ── Publisher ────────────────────────────────────────────────────────────────────────────────

-- The last sequence number per topic and subject. Taken by an upsert in the business transaction:
-- the row lock makes the order of the numbers the order of the commits.
CREATE TABLE {schema}.event_keys (
    topic       text   NOT NULL,
    subject     text   NOT NULL,
    last_keyseq bigint NOT NULL,
    PRIMARY KEY (topic, subject)
) WITH (fillfactor = 70);

-- Committed events on their way into the log. `seq` is taken before commit, so nobody may read
-- this table by a cursor on it: the sequencer deletes what it sees, whatever the number.
CREATE TABLE {schema}.outbox (
    seq          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid        NOT NULL,
    topic        text        NOT NULL,
    type         text        NOT NULL,
    subject      text        NOT NULL,
    keyseq       bigint,
    time         timestamptz NOT NULL,
    context      json        NOT NULL,
    -- A bound, so that a batch of events has one too.
    data         json        NOT NULL CHECK (octet_length(data::text) <= 262144),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- The position of the last event in the log; and which log it is, so that two databases that were made
-- for one module are told apart where they meet.
CREATE TABLE {schema}.head (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    pos    bigint  NOT NULL DEFAULT 0,
    log_id uuid    NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO {schema}.head DEFAULT VALUES;

-- Where each subject's last event stands, so that the next can say what came before it.
CREATE TABLE {schema}.key_positions (
    topic   text   NOT NULL,
    subject text   NOT NULL,
    pos     bigint NOT NULL,
    PRIMARY KEY (topic, subject)
) WITH (fillfactor = 70);

-- The record: append-only, with dense positions from 1, partitioned by ranges of them.
CREATE TABLE {schema}.log (
    pos          bigint      NOT NULL PRIMARY KEY,
    id           uuid        NOT NULL,
    topic        text        NOT NULL,
    type         text        NOT NULL,
    subject      text        NOT NULL,
    keyseq       bigint,
    keyprevpos   bigint,
    time         timestamptz NOT NULL,
    context      json        NOT NULL,
    data         json        NOT NULL,
    sequenced_at timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY RANGE (pos);

-- What happened to one subject, and where a subscriber that misses an event finds it.
CREATE INDEX log_subject_idx ON {schema}.log (subject, topic, keyseq);
-- Where a broadcast starts: rows lie in order of this time, so a few bytes per range suffice.
CREATE INDEX log_sequenced_at_idx ON {schema}.log USING brin (sequenced_at);

-- The log's partitions. The newest is open-ended, so that an append always finds its place.
CREATE TABLE {schema}.log_partitions (
    lower_pos  bigint PRIMARY KEY,
    upper_pos  bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE {schema}.log_from_1 PARTITION OF {schema}.log FOR VALUES FROM (1) TO (MAXVALUE);
INSERT INTO {schema}.log_partitions (lower_pos) VALUES (1);

-- How far each subscriber has come, told now and then: the log is not trimmed before.
CREATE TABLE {schema}.cursors (
    subscription text        PRIMARY KEY,
    pos          bigint      NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The runtime role appends and reads; it can neither rewrite nor delete. A partition has
-- privileges of its own, beside its parent's.
REVOKE ALL ON {schema}.log, {schema}.log_from_1, {schema}.log_partitions FROM {runtime};
GRANT SELECT, INSERT ON {schema}.log TO {runtime};
GRANT SELECT ON {schema}.log_partitions TO {runtime};
REVOKE DELETE, TRUNCATE ON {schema}.cursors FROM {runtime};

-- Starts a new partition after the last event when the newest is older than `min_age`, or so large
-- that closing it later would take long: its rows are scanned under the lock. Only the sequencer
-- and readers of the log wait for it: publishers write to the outbox.
CREATE FUNCTION {schema}.roll_log(min_age interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    newest   {schema}.log_partitions;
    last_pos bigint;
BEGIN
    -- The role that serves may not cut the record to pieces.
    IF session_user = '{runtime}' THEN
        min_age := greatest(min_age, interval '1 hour');
    END IF;
    -- Before the table's lock: the sequencer takes the two in this order as well.
    SELECT pos INTO last_pos FROM {schema}.head FOR NO KEY UPDATE;
    SELECT * INTO newest FROM {schema}.log_partitions ORDER BY lower_pos DESC LIMIT 1;
    IF last_pos < newest.lower_pos
       OR newest.created_at > clock_timestamp() - min_age
          AND last_pos - newest.lower_pos < 1000000 THEN
        RETURN false;
    END IF;
    -- The constraint spares the attach a second scan.
    EXECUTE format('ALTER TABLE {schema}.log DETACH PARTITION {schema}.log_from_%s', newest.lower_pos);
    EXECUTE format('ALTER TABLE {schema}.log_from_%s ADD CONSTRAINT bounds CHECK (pos >= %s AND pos < %s)',
                   newest.lower_pos, newest.lower_pos, last_pos + 1);
    EXECUTE format('ALTER TABLE {schema}.log ATTACH PARTITION {schema}.log_from_%s FOR VALUES FROM (%s) TO (%s)',
                   newest.lower_pos, newest.lower_pos, last_pos + 1);
    EXECUTE format('ALTER TABLE {schema}.log_from_%s DROP CONSTRAINT bounds', newest.lower_pos);
    EXECUTE format('CREATE TABLE {schema}.log_from_%s PARTITION OF {schema}.log FOR VALUES FROM (%s) TO (MAXVALUE)',
                   last_pos + 1, last_pos + 1);
    EXECUTE format('REVOKE ALL ON {schema}.log_from_%s FROM {runtime}', last_pos + 1);
    UPDATE {schema}.log_partitions SET upper_pos = last_pos + 1 WHERE lower_pos = newest.lower_pos;
    INSERT INTO {schema}.log_partitions (lower_pos) VALUES (last_pos + 1);
    RETURN true;
END
$$;

-- Drops closed partitions whose every event is older than `keep` and behind every cursor. Returns
-- how many went.
CREATE FUNCTION {schema}.trim_log(keep interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    part    {schema}.log_partitions;
    newest  timestamptz;
    dropped integer := 0;
BEGIN
    -- Nor may it let the record go early, whatever it says of cursors.
    IF session_user = '{runtime}' THEN
        keep := greatest(keep, interval '1 day');
    END IF;
    -- A subscription that begins now waits, and then sees what is left.
    LOCK TABLE {schema}.cursors IN SHARE MODE;
    FOR part IN SELECT * FROM {schema}.log_partitions WHERE upper_pos IS NOT NULL ORDER BY lower_pos LOOP
        EXIT WHEN EXISTS (SELECT FROM {schema}.cursors WHERE pos < part.upper_pos - 1);
        EXECUTE format('SELECT max(sequenced_at) FROM {schema}.log_from_%s', part.lower_pos) INTO newest;
        EXIT WHEN newest > clock_timestamp() - keep;
        EXECUTE format('DROP TABLE {schema}.log_from_%s', part.lower_pos);
        DELETE FROM {schema}.log_partitions WHERE lower_pos = part.lower_pos;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- Erasing a person: payloads and client addresses of their events go, positions stay.
CREATE FUNCTION {schema}.erase_from_log(erased_subject text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    UPDATE {schema}.log
       SET data = 'null', context = (context::jsonb - 'client')::json
     WHERE subject = erased_subject AND data::text <> 'null';
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;

REVOKE ALL ON FUNCTION {schema}.roll_log(interval), {schema}.trim_log(interval),
    {schema}.erase_from_log(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.roll_log(interval), {schema}.trim_log(interval),
    {schema}.erase_from_log(text) TO {runtime};

-- ── Both ─────────────────────────────────────────────────────────────────────────────────────

-- Who may act: the sequencer, each subscription, each job. Every transaction of a holder checks
-- its epoch under FOR KEY SHARE; a take-over locks FOR UPDATE, so it waits for such a transaction,
-- while a renewal, which changes no key, does not. Times are the database's.
CREATE TABLE {schema}.leases (
    name       text        PRIMARY KEY,
    holder     uuid,
    epoch      bigint      NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

-- Scheduled work: when it ran last and how it went.
CREATE TABLE {schema}.jobs (
    name        text        PRIMARY KEY,
    started_at  timestamptz,
    finished_at timestamptz,
    error       text
);

-- ── Subscriber ───────────────────────────────────────────────────────────────────────────────

CREATE TABLE {schema}.subscriptions (
    name       text        PRIMARY KEY,
    publisher  text        NOT NULL,
    -- Events up to here were before its time: a subject's first event is accepted when what came
    -- before it lies at or before this position.
    start_pos  bigint      NOT NULL,
    -- The same for each topic, as a release may add one to a subscription that has come some way.
    topics     jsonb       NOT NULL DEFAULT '{}',
    -- Everything up to here was handled or copied to `parked`. Moves with the effects.
    pos        bigint      NOT NULL,
    -- `paused` by hand; `replaying` until a replay has set `pos` back to `start_pos`.
    state      text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'replaying')),
    -- Events up to here took effect before the last replay: fed again, they publish nothing.
    replay_until bigint,
    -- Why it makes no progress, if it does not.
    error      text,
    error_at   timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Watermarks: the last sequence number handled per subject. They never expire, so a duplicate is
-- dropped however late it comes.
CREATE TABLE {schema}.inbox (
    subscription text   NOT NULL,
    topic        text   NOT NULL,
    subject      text   NOT NULL,
    keyseq       bigint NOT NULL,
    PRIMARY KEY (subscription, topic, subject)
) WITH (fillfactor = 70);

-- The same for events without order, by id, for as long as a transport may repeat them.
CREATE TABLE {schema}.inbox_ids (
    subscription text        NOT NULL,
    id           uuid        NOT NULL,
    handled_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subscription, id)
);
CREATE INDEX inbox_ids_handled_at_idx ON {schema}.inbox_ids USING brin (handled_at);

-- Events that could not be handled yet, and those of the same subject that wait behind them. A
-- lane is a subject, or a single event when the event has no order.
CREATE TABLE {schema}.parked (
    subscription    text        NOT NULL,
    topic           text        NOT NULL,
    lane            text        NOT NULL,
    pos             bigint      NOT NULL,
    envelope        json        NOT NULL,
    -- The first event of a lane is `retrying`, or `parked` when a person has to look; the others
    -- are `waiting`.
    status          text        NOT NULL CHECK (status IN ('retrying', 'parked', 'waiting')),
    attempts        integer     NOT NULL DEFAULT 0,
    deferrals       integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error           text,
    parked_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subscription, topic, lane, pos)
);
-- One head per lane, whoever inserts.
CREATE UNIQUE INDEX parked_head_key ON {schema}.parked (subscription, topic, lane)
    WHERE status <> 'waiting';
CREATE INDEX parked_due_idx ON {schema}.parked (subscription, next_attempt_at)
    WHERE status = 'retrying';
