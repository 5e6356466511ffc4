-- Log records: what every process of the installation wrote through `tracing`.

-- Ids are taken 8,192 at a time: one call per batch instead of one per record. A record's id is
-- its batch's block * 8192 + its place in the batch; it orders records of the same time and tells
-- a batch that is stored from one that is not.
CREATE SEQUENCE logging.record_blocks;

CREATE TABLE logging.records (
    id          bigint      NOT NULL,
    -- When it was written; when it was stored, if that claim cannot be true.
    time        timestamptz NOT NULL,
    -- The time that the record claims, if it is too far off to file it under: a clock that was
    -- never set must not make a partition for each of its days.
    skewed_time timestamptz,
    -- W3C trace context: 16 and 8 bytes. As uuid and bigint they are a third of their hex digits,
    -- and the index compares them without a collation.
    trace_id    uuid,
    span_id     bigint,
    -- OpenTelemetry's severity numbers: 1 trace, 5 debug, 9 info, 13 warn, 17 error.
    level       smallint    NOT NULL,
    -- Identifiers, not words: "C" compares bytes.
    service     text        COLLATE "C" NOT NULL,
    target      text        COLLATE "C" NOT NULL,
    message     text        NOT NULL,
    -- json, not jsonb: cheaper to store, and text already where a search reads it.
    fields      json        NOT NULL
) PARTITION BY RANGE (time);

-- Summaries of ranges of pages, and no B-tree. Records arrive in the order of their time, so a
-- search goes back from the newest in ranges of time and stops when its page is full; what is rare
-- is found because ranges without it are passed over. B-trees on (service, time) and trace_id would
-- answer in 1 ms what these answer in 1 to 100 ms (5 million records a day), but cost three times
-- as much as storing the record, random writes all over the index among them; these cost half of
-- it, and a thirtieth of the space. An index on the text costs more still. Every search has a range
-- of time.
--
-- Ranges that are full are summarised by autovacuum (autosummarize) and by summarize_partitions;
-- until then every search reads them. The last range stays without a summary while it fills: to add
-- a trace to its filter means to compress 4 kB, which costs more than storing the record.

-- When, how bad, and by whom: no more services than 64 are expected in 128 pages.
CREATE INDEX records_time_idx ON logging.records
    USING brin (time, level, service text_bloom_ops (n_distinct_per_range = 64))
    WITH (autosummarize = on);
-- Which trace. Apart from the other: 4 kB for 128 pages, and an index of this kind is read whole.
CREATE INDEX records_trace_idx ON logging.records
    USING brin (trace_id uuid_bloom_ops) WITH (autosummarize = on);

-- Written once: the runtime role can neither rewrite nor delete a record.
REVOKE UPDATE, DELETE ON logging.records FROM banyan_logging;

-- Takes the summary of the range that is being filled away.
CREATE FUNCTION logging.open_last_range(partition regclass) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT brin_desummarize_range(i.indexrelid, greatest(pg_relation_size(partition) / 8192 - 1, 0))
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
     WHERE i.indrelid = partition AND a.amname = 'brin';
$$;

-- Makes the partitions of the days (UTC) from `oldest`, but at most `keep_days` back, to tomorrow,
-- where they are missing. There is no default partition: it would collect silently, and every
-- later ATTACH would scan it under a lock that stops all.
--
-- Times are the database's: an instance whose clock is off makes no partitions of its own.
--
-- Returns the time, and since when records can be stored without a gap.
CREATE FUNCTION logging.ensure_partitions(
    oldest timestamptz, keep_days integer, OUT now timestamptz, OUT opens timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    today     date;
    day       date;
    partition text;
BEGIN
    IF keep_days NOT BETWEEN 1 AND 3650 THEN
        RAISE EXCEPTION 'records are kept 1 to 3650 days, not %', keep_days;
    END IF;
    now := clock_timestamp();
    today := (now AT TIME ZONE 'UTC')::date;
    day := greatest(least((oldest AT TIME ZONE 'UTC')::date, today), today - keep_days);
    opens := day::timestamp AT TIME ZONE 'UTC';
    WHILE day <= today + 1 LOOP
        partition := 'records_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('logging.' || partition) IS NULL THEN
            -- Two instances meet here at midnight: the second finds what the first has made.
            PERFORM pg_advisory_xact_lock(hashtext('logging.ensure_partitions'), 0);
            IF to_regclass('logging.' || partition) IS NULL THEN
                -- ATTACH lets readers and writers go on; CREATE … PARTITION OF would wait for all
                -- of them, with everybody else waiting behind it.
                EXECUTE format(
                    'CREATE TABLE logging.%I (LIKE logging.records INCLUDING STORAGE)', partition);
                -- Everybody goes through the parent; the default privileges say otherwise.
                EXECUTE format('REVOKE ALL ON logging.%I FROM banyan_logging', partition);
                EXECUTE format(
                    'ALTER TABLE logging.records ATTACH PARTITION logging.%I
                     FOR VALUES FROM (%L) TO (%L)',
                    partition,
                    day::timestamp AT TIME ZONE 'UTC',
                    (day + 1)::timestamp AT TIME ZONE 'UTC');
                PERFORM logging.open_last_range(to_regclass('logging.' || partition));
            END IF;
        END IF;
        day := day + 1;
    END LOOP;
END
$$;

-- Begins storing a batch: takes its block of ids, or comes back to the one it took before, and
-- tells whether the batch is stored already. Then the commit came through and its answer did not.
--
-- The lock makes a second attempt wait for a first that is still at it in an orphaned connection.
CREATE FUNCTION logging.begin_batch(
    known_block bigint, oldest timestamptz, keep_days integer,
    OUT block bigint, OUT stored boolean, OUT now timestamptz, OUT opens timestamptz
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    block := coalesce(known_block, nextval('logging.record_blocks'));
    PERFORM pg_advisory_xact_lock(hashtext('logging.begin_batch'), (block % 2147483647)::integer);
    SELECT e.now, e.opens INTO now, opens FROM logging.ensure_partitions(oldest, keep_days) e;
    stored := known_block IS NOT NULL AND EXISTS (
        SELECT FROM logging.records r
         WHERE r.time >= greatest(begin_batch.opens, oldest)
           AND r.id >= known_block * 8192 AND r.id < (known_block + 1) * 8192);
END
$$;

-- Drops the oldest partition whose day is more than `keep_days` ago; false when there is none. One
-- at a time: the lock on the parent stops everybody, so it must be brief, and waiting for it as
-- well. The caller tries again.
CREATE FUNCTION logging.drop_oldest_partition(keep_days integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    today     date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    partition name;
BEGIN
    IF keep_days NOT BETWEEN 1 AND 3650 THEN
        RAISE EXCEPTION 'records are kept 1 to 3650 days, not %', keep_days;
    END IF;
    SELECT c.relname INTO partition
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'logging.records'::regclass
       AND c.relname < 'records_' || to_char(today - keep_days, 'YYYYMMDD')
     ORDER BY c.relname
     LIMIT 1;
    IF partition IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE logging.%I', partition);
    RETURN true;
END
$$;

-- Summarises what was stored today and yesterday and is not summarised yet: autovacuum is asked to,
-- but its queue is short, and a storm of records overruns it.
CREATE FUNCTION logging.summarize_partitions() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    today     date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    summaries regclass;
BEGIN
    FOR summaries IN
        SELECT i.indexrelid
          FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
         WHERE i.indrelid IN (
                   to_regclass('logging.records_' || to_char(today, 'YYYYMMDD')),
                   to_regclass('logging.records_' || to_char(today - 1, 'YYYYMMDD')))
           AND a.amname = 'brin'
    LOOP
        BEGIN
            PERFORM brin_summarize_new_values(summaries);
        EXCEPTION WHEN lock_not_available THEN
            -- Autovacuum is at it.
            NULL;
        END;
    END LOOP;
    BEGIN
        PERFORM logging.open_last_range(
            to_regclass('logging.records_' || to_char(today, 'YYYYMMDD')));
    EXCEPTION WHEN lock_not_available THEN
        NULL;
    END;
END
$$;

REVOKE ALL ON FUNCTION logging.open_last_range(regclass),
    logging.ensure_partitions(timestamptz, integer),
    logging.begin_batch(bigint, timestamptz, integer),
    logging.summarize_partitions(), logging.drop_oldest_partition(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION logging.ensure_partitions(timestamptz, integer),
    logging.begin_batch(bigint, timestamptz, integer),
    logging.summarize_partitions(), logging.drop_oldest_partition(integer) TO banyan_logging;
