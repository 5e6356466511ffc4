-- Mails of the development mailbox, which takes the place of an SMTP server: rendered, codes and
-- all. In production nothing is written here.
CREATE TABLE notification.mailbox (
    id         uuid        PRIMARY KEY,
    -- A mail that is handed over twice is in the box once.
    message_id text        NOT NULL CONSTRAINT mailbox_message_id_key UNIQUE,
    recipient  text        NOT NULL,
    subject    text        NOT NULL,
    text       text        NOT NULL,
    html       text        NOT NULL,
    sent_at    timestamptz NOT NULL
);

-- Newest first; the id parts what arrived at the same moment.
CREATE INDEX mailbox_sent_at_idx ON notification.mailbox (sent_at, id);
CREATE INDEX mailbox_recipient_idx ON notification.mailbox (lower(recipient), sent_at, id);
