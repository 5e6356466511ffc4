-- Batches of log records that came over OTLP/HTTP with a key. A shipper that lost the answer sends
-- the batch again: it is found here and not stored twice.
--
-- Each row came with a request that stored records, and is small beside them.

CREATE TABLE logging.received_batches (
    -- Who sent it, as audit entries name actors: keys of one sender mean nothing for another.
    sender      text        COLLATE "C" NOT NULL,
    key         uuid        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Records of it that were refused: the repeated answer says so again.
    rejected    integer     NOT NULL CHECK (rejected >= 0),
    PRIMARY KEY (sender, key)
);

-- To forget what is past keeping.
CREATE INDEX received_batches_received_at_idx ON logging.received_batches (received_at);

REVOKE UPDATE ON logging.received_batches FROM banyan_logging;
