//! `profile.profiles`.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::{Changes, Profile};

pub(crate) async fn find(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<Option<Profile>, sqlx::Error> {
    sqlx::query_as!(
        Profile,
        r#"SELECT user_id AS "user_id: UserId", display_name, bio, locale, time_zone, version,
                  created_at, updated_at
             FROM profile.profiles
            WHERE user_id = $1"#,
        user_id.0
    )
    .fetch_optional(conn)
    .await
}

/// A new account's profile. False when it has one already.
pub(crate) async fn insert_if_absent(
    conn: &mut PgConnection,
    user_id: UserId,
    display_name: Option<&str>,
    locale: &str,
    time_zone: &str,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO profile.profiles
             (user_id, display_name, locale, time_zone, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (user_id) DO NOTHING",
        user_id.0,
        display_name,
        locale,
        time_zone,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of an edit.
#[derive(Debug)]
pub(crate) enum Update {
    /// The profile as it was and as it is.
    Changed(Profile, Profile),
    /// Every field already had the value that it was to get.
    Unchanged(Profile),
    /// The profile is at none of the versions that the edit is for.
    Stale,
    /// There is no such profile.
    Missing,
}

/// Edits a profile that is at one of `versions`, or at any when there are none given.
pub(crate) async fn update(
    conn: &mut PgConnection,
    user_id: UserId,
    versions: Option<&[i64]>,
    changes: &Changes,
    now: OffsetDateTime,
) -> Result<Update, sqlx::Error> {
    // The row is locked as it is now, whatever this statement's snapshot shows, and the version is
    // compared on that: of two edits of one version, the second waits and then matches no row.
    let row = sqlx::query!(
        r#"WITH old AS (
               SELECT * FROM profile.profiles WHERE user_id = $1 FOR NO KEY UPDATE
           ), new AS (
               UPDATE profile.profiles AS p
                  SET display_name = CASE WHEN $3 THEN $4 ELSE old.display_name END,
                      bio = CASE WHEN $5 THEN $6 ELSE old.bio END,
                      locale = coalesce($7, old.locale),
                      time_zone = coalesce($8, old.time_zone),
                      version = old.version + 1,
                      updated_at = $9
                 FROM old
                WHERE p.user_id = old.user_id
                  AND ($2::bigint[] IS NULL OR p.version = ANY ($2))
                  AND (($3 AND $4 IS DISTINCT FROM old.display_name)
                       OR ($5 AND $6 IS DISTINCT FROM old.bio)
                       OR $7 <> old.locale
                       OR $8 <> old.time_zone)
               RETURNING p.*
           )
           SELECT old.display_name, old.bio, old.locale, old.time_zone, old.version,
                  old.created_at, old.updated_at,
                  new.display_name AS new_display_name, new.bio AS new_bio,
                  new.locale AS "new_locale?", new.time_zone AS "new_time_zone?",
                  new.version AS "new_version?", new.updated_at AS "new_updated_at?"
             FROM old LEFT JOIN new ON true"#,
        user_id.0,
        versions,
        changes.display_name.is_some(),
        changes
            .display_name
            .as_ref()
            .and_then(Option::as_ref)
            .map(|name| name.as_str()),
        changes.bio.is_some(),
        changes
            .bio
            .as_ref()
            .and_then(Option::as_ref)
            .map(|bio| bio.as_str()),
        changes.locale.as_ref().map(|locale| locale.as_str()),
        changes.time_zone.as_ref().map(|zone| zone.as_str()),
        now
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(Update::Missing);
    };
    if versions.is_some_and(|versions| !versions.contains(&row.version)) {
        return Ok(Update::Stale);
    }
    let old = Profile {
        user_id,
        display_name: row.display_name,
        bio: row.bio,
        locale: row.locale,
        time_zone: row.time_zone,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    let (Some(locale), Some(time_zone), Some(version), Some(updated_at)) = (
        row.new_locale,
        row.new_time_zone,
        row.new_version,
        row.new_updated_at,
    ) else {
        return Ok(Update::Unchanged(old));
    };
    let new = Profile {
        user_id,
        display_name: row.new_display_name,
        bio: row.new_bio,
        locale,
        time_zone,
        version,
        created_at: old.created_at,
        updated_at,
    };
    Ok(Update::Changed(old, new))
}

/// Profiles after `after`, locked against edits until the transaction ends: what is told of them
/// in it must not be older than what an edit tells before it.
pub(crate) async fn lock_page(
    conn: &mut PgConnection,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<Profile>, sqlx::Error> {
    sqlx::query_as!(
        Profile,
        r#"SELECT user_id AS "user_id: UserId", display_name, bio, locale, time_zone, version,
                  created_at, updated_at
             FROM profile.profiles
            WHERE user_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
            ORDER BY user_id
            LIMIT $2
              FOR SHARE"#,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}
