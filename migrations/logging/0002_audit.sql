-- The audit trail: every business event of every module, as an entry that is never changed. Each
-- entry's hash covers the one before it, so that a change anywhere shows (`banyan audit verify`).

CREATE TABLE logging.audit_entries (
    -- Dense from 1, in the order of appending. The key is what makes a fork of the chain
    -- impossible, whatever becomes of the lock on audit_head.
    seq            bigint      PRIMARY KEY CHECK (seq > 0),

    -- What is never erased; the hash covers it. Persons are here by their ids only.
    pos            bigint      NOT NULL,
    time           timestamptz NOT NULL,
    event_id       uuid        NOT NULL,
    tenant         uuid,
    trace_id       uuid,
    causation_id   uuid,
    -- Of the encoding that was hashed.
    version        smallint    NOT NULL,
    -- Identifiers, not words: "C" compares bytes.
    publisher      text        COLLATE "C" NOT NULL,
    -- The event's type.
    action         text        COLLATE "C" NOT NULL,
    -- The event's subject.
    target         text        COLLATE "C" NOT NULL,
    actor          text        COLLATE "C",
    on_behalf_of   text        COLLATE "C",
    correlation_id text        COLLATE "C" NOT NULL,

    -- SHA-256 of salt and content: it stays when they go.
    content_digest bytea       NOT NULL CHECK (octet_length(content_digest) = 32),
    -- SHA-256 of the previous entry's hash, what is above, and content_digest.
    hash           bytea       NOT NULL CHECK (octet_length(hash) = 32),

    -- What is erased with a person. Without the salt nobody can tell by trying what it was.
    salt           bytea       CHECK (octet_length(salt) = 16),
    -- json, not jsonb: the digest is of the very text.
    data           json,
    client_address text,
    user_agent     text,

    -- A publisher's event is entered once.
    CONSTRAINT audit_entries_pos_key UNIQUE (publisher, pos),
    -- Content is there or erased, not in part.
    CONSTRAINT audit_entries_content_check CHECK (
        (salt IS NOT NULL AND data IS NOT NULL)
        OR num_nonnulls(salt, data, client_address, user_agent) = 0)
);

-- One for each filter of the list, in the list's order. Actor and target also find what is to be
-- erased with a person.
CREATE INDEX audit_entries_actor_idx ON logging.audit_entries (actor, seq)
    WHERE actor IS NOT NULL;
CREATE INDEX audit_entries_target_idx ON logging.audit_entries (target, seq);
-- A type up to its version's number, `identity.user.registered.v`: finds all versions of a type,
-- and, among them, one.
CREATE INDEX audit_entries_action_idx ON logging.audit_entries (rtrim(action, '0123456789'), seq);
CREATE INDEX audit_entries_trace_idx ON logging.audit_entries (trace_id, seq)
    WHERE trace_id IS NOT NULL;
-- Entries lie nearly in the order of time.
CREATE INDEX audit_entries_time_idx ON logging.audit_entries
    USING brin (time) WITH (autosummarize = on);

-- The end of the chain. Who appends locks this row first: to lock the last entry instead would
-- not do, as the next one is not there yet to be locked.
CREATE TABLE logging.audit_head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq  bigint  NOT NULL,
    hash bytea   NOT NULL CHECK (octet_length(hash) = 32)
) WITH (fillfactor = 10);
INSERT INTO logging.audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- The runtime role appends: it neither changes nor deletes.
REVOKE UPDATE, DELETE ON logging.audit_entries FROM banyan_logging;
REVOKE INSERT, DELETE ON logging.audit_head FROM banyan_logging;

-- Erases the content of every entry about or by a person; hashes stay, so the chain verifies as
-- before. Returns how many entries lost their content.
--
-- For the owner alone, until a way to erase a person exists that says who may ask for it. Earlier
-- versions of the rows stay on disk until VACUUM, and in backups for as long as those are kept.
CREATE FUNCTION logging.erase_audit_content(erased_subject text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    -- An entry that is being appended would not be seen.
    PERFORM 1 FROM logging.audit_head FOR UPDATE;
    UPDATE logging.audit_entries
       SET salt = NULL, data = NULL, client_address = NULL, user_agent = NULL
     WHERE (target = erased_subject OR actor = 'user:' || erased_subject) AND salt IS NOT NULL;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;
REVOKE ALL ON FUNCTION logging.erase_audit_content(text) FROM PUBLIC;
