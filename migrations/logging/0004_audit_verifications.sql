-- Verifications of the audit trail that administrators asked for: the row is the job.

CREATE TABLE logging.audit_verifications (
    id            uuid        PRIMARY KEY,
    -- As audit entries name actors.
    requested_by  text        COLLATE "C" NOT NULL,
    requested_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A worker that falls silent loses it to another after this.
    claimed_until timestamptz,
    -- Counts claims: who lost it changes nothing any more.
    attempt       integer     NOT NULL DEFAULT 0,
    -- Entries that were found right so far, and of how many.
    verified      bigint      NOT NULL DEFAULT 0,
    total         bigint      NOT NULL DEFAULT 0,
    -- Entries without content.
    erased        bigint      NOT NULL DEFAULT 0,
    finished_at   timestamptz,
    -- The end of the chain that was verified, to be compared with one that was kept elsewhere.
    head          text,
    -- What is wrong; none if nothing is.
    fault         text,
    CHECK (finished_at IS NOT NULL OR (head IS NULL AND fault IS NULL))
);
-- One at a time: it reads the whole trail.
CREATE UNIQUE INDEX audit_verifications_open_idx ON logging.audit_verifications ((true))
    WHERE finished_at IS NULL;
CREATE INDEX audit_verifications_requested_at_idx ON logging.audit_verifications (requested_at);
