-- Pictures of people. The rows decide: a picture is a person's because their profile names it.

CREATE TABLE profile.avatars (
    avatar_id  uuid        PRIMARY KEY,
    -- Not a key to profiles: a picture outlives a profile that is erased, until its blobs are removed.
    user_id    uuid        NOT NULL,
    media_type text        NOT NULL CHECK (media_type IN ('image/jpeg', 'image/png')),
    -- pending: its blobs are being stored; whoever dies at that leaves it so.
    -- kept: a profile names it.
    -- dropped: its blobs are to be removed, and then the row. Nothing comes back from here.
    state      text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'kept', 'dropped')),
    since      timestamptz NOT NULL
);

CREATE UNIQUE INDEX one_avatar_is_kept ON profile.avatars (user_id) WHERE state = 'kept';
-- For the job that removes, oldest first.
CREATE INDEX avatars_to_be_removed ON profile.avatars (since) WHERE state <> 'kept';

ALTER TABLE profile.profiles
    ADD COLUMN avatar_id uuid REFERENCES profile.avatars,
    -- What the address of the picture holds besides the person: random, and another one when the picture
    -- is hidden, so that who knew the address does not any more.
    ADD COLUMN avatar_version uuid,
    ADD CONSTRAINT avatars_have_an_address CHECK ((avatar_id IS NULL) = (avatar_version IS NULL));

-- One picture is one person's; and a row of avatars can go without reading all profiles.
CREATE UNIQUE INDEX profiles_avatar ON profile.profiles (avatar_id) WHERE avatar_id IS NOT NULL;

-- Where pictures are kept unless configured otherwise (profile.blobs).
CREATE TABLE profile.blobs (
    key     text  PRIMARY KEY CHECK (char_length(key) BETWEEN 1 AND 100),
    content bytea NOT NULL CHECK (octet_length(content) <= 8388608)
);
-- Pictures are compressed already.
ALTER TABLE profile.blobs ALTER COLUMN content SET STORAGE EXTERNAL;
