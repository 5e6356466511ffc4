-- What else people tell of themselves, and what of it others see.

ALTER TABLE profile.profiles
    -- [{"label": …, "url": …}], checked before it is stored. json and not jsonb: kept as it was measured,
    -- where jsonb writes 1e300 out in full.
    ADD COLUMN links      json   NOT NULL DEFAULT '[]'
        CONSTRAINT links_are_a_short_list
        CHECK (json_typeof(links) = 'array' AND octet_length(links::text) <= 32768),
    -- What the product keeps of a person beside what we know.
    ADD COLUMN attributes json   NOT NULL DEFAULT '{}'
        CONSTRAINT attributes_are_a_small_object
        CHECK (json_typeof(attributes) = 'object' AND octet_length(attributes::text) <= 8192),
    -- The fields that anybody signed in sees. The display name is not among them: it always is.
    ADD COLUMN visible    text[] NOT NULL DEFAULT '{avatar}'
        CONSTRAINT visible_names_fields
        CHECK (visible <@ '{attributes,avatar,bio,links,locale,time_zone}'::text[]);
