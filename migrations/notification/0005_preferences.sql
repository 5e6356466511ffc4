-- What people do not want to be told, and where. Without a row, everything is on.
CREATE TABLE notification.preferences (
    user_id    uuid        PRIMARY KEY,
    -- Of the entity tag: an edit names the version that its author has seen.
    version    bigint      NOT NULL CHECK (version >= 0),
    -- Category and channel of what is switched off: 'product.email'.
    muted      text[]      NOT NULL DEFAULT '{}' CHECK (cardinality(muted) <= 64),
    updated_at timestamptz NOT NULL,
    -- Whoever takes an account over must not be able to keep its owner from hearing of it.
    CONSTRAINT preferences_security_check CHECK (NOT 'security.email' = ANY (muted))
);

-- A delivery can also end because the person did not want it, or because the address takes no mail.
-- It is decided when the row is made, and again just before sending.
ALTER TABLE notification.deliveries
    DROP CONSTRAINT deliveries_status_check,
    ADD CONSTRAINT deliveries_status_check CHECK (status IN
        ('queued', 'sending', 'sent', 'failed', 'expired', 'muted', 'suppressed')),
    DROP CONSTRAINT deliveries_finished_check,
    ADD CONSTRAINT deliveries_finished_check CHECK (
        (status NOT IN ('queued', 'sending')) = (finished_at IS NOT NULL));
