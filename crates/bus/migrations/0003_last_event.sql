-- The last event that a subscription took, and where it stood: the publisher's log has the same event there,
-- or it is another log than the one that was read (a database brought back from a backup).
ALTER TABLE {schema}.subscriptions
    ADD COLUMN last_pos bigint,
    ADD COLUMN last_id  uuid,
    ADD CONSTRAINT subscriptions_last_check CHECK ((last_pos IS NULL) = (last_id IS NULL));
