-- What notification knows of people, learnt from events. One table per publisher: each is the read
-- model of one subscription, so that either half may come first, and either may be emptied and fed
-- again without the other.

-- identity's half.
CREATE TABLE notification.recipient_accounts (
    user_id       uuid        PRIMARY KEY,
    -- Longer than any address that SMTP can carry (RFC 5321 §4.5.3.1: 64 + 1 + 255).
    email         text        NOT NULL CHECK (char_length(email) <= 320),
    locale        text        NOT NULL CHECK (char_length(locale) <= 35),
    -- Nobody is welcomed years after they came, only because their profile is new.
    registered_at timestamptz NOT NULL
);

-- profile's half.
CREATE TABLE notification.recipient_profiles (
    user_id      uuid PRIMARY KEY,
    display_name text CHECK (char_length(display_name) <= 200),
    -- The person's own choice: it goes before the one of the account.
    locale       text NOT NULL CHECK (char_length(locale) <= 35),
    time_zone    text NOT NULL CHECK (char_length(time_zone) <= 64)
);

-- Both halves side by side, for people who look something up. The module reads the tables: through
-- this, one person's row would cost a scan of everybody's.
CREATE VIEW notification.recipients AS
SELECT user_id,
       a.email,
       p.display_name,
       coalesce(p.locale, a.locale) AS locale,
       p.time_zone,
       a.registered_at
  FROM notification.recipient_accounts AS a
  FULL JOIN notification.recipient_profiles AS p USING (user_id);
