-- Administrators find accounts by the beginnings of words: of name and address. Words of an address are
-- what stands between its signs.
ALTER TABLE identity.users ADD COLUMN words tsvector NOT NULL GENERATED ALWAYS AS (
    to_tsvector('simple', coalesce(display_name, '') || ' ' || translate(email, '@.+-_''', '      '))
) STORED;
CREATE INDEX users_words_idx ON identity.users USING gin (words);
-- Those that are shut out are few and looked for.
CREATE INDEX users_suspended_idx ON identity.users (user_id) WHERE suspended_at IS NOT NULL;
