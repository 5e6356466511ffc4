//! `profile.profiles`.

use kernel::UserId;
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Attributes, Avatar, Link, Profile, Visible};

struct Row {
    user_id: UserId,
    display_name: Option<String>,
    bio: Option<String>,
    locale: String,
    time_zone: String,
    links: Json<Vec<Link>>,
    attributes: Json<Attributes>,
    avatar_id: Option<Uuid>,
    avatar_version: Option<Uuid>,
    visible: Vec<String>,
    version: i64,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl From<Row> for Profile {
    fn from(row: Row) -> Self {
        Self {
            user_id: row.user_id,
            display_name: row.display_name,
            bio: row.bio,
            locale: row.locale,
            time_zone: row.time_zone,
            links: row.links.0,
            attributes: row.attributes.0,
            avatar: row
                .avatar_id
                .zip(row.avatar_version)
                .map(|(id, version)| Avatar { id, version }),
            visible: Visible::from_names(&row.visible),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The columns of a [`Row`], in one place: `query_as!` wants a literal.
macro_rules! profiles {
    ($rest:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            Row,
            r#"SELECT user_id AS "user_id: UserId", display_name, bio, locale, time_zone,
                      links AS "links: Json<Vec<Link>>",
                      attributes AS "attributes: Json<Attributes>",
                      avatar_id, avatar_version, visible, version, created_at, updated_at
                 FROM profile.profiles "# + $rest,
            $($argument),*
        )
    };
}

pub(crate) async fn find(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<Option<Profile>, sqlx::Error> {
    let row = profiles!("WHERE user_id = $1", user_id.0)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(Profile::from))
}

/// Locked against other edits until the transaction ends: of two edits of one version, the second
/// waits, and then reads what the first has made of it.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<Option<Profile>, sqlx::Error> {
    let row = profiles!("WHERE user_id = $1 FOR NO KEY UPDATE", user_id.0)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(Profile::from))
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

/// Writes down what became of a profile that was locked.
pub(crate) async fn save(conn: &mut PgConnection, profile: &Profile) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE profile.profiles
            SET display_name = $2, bio = $3, locale = $4, time_zone = $5, links = $6,
                attributes = $7, visible = $8, version = $9, updated_at = $10,
                avatar_id = $11, avatar_version = $12
          WHERE user_id = $1",
        profile.user_id.0,
        profile.display_name,
        profile.bio,
        profile.locale,
        profile.time_zone,
        Json(&profile.links) as _,
        Json(&profile.attributes) as _,
        &profile.visible.names(),
        profile.version,
        profile.updated_at,
        profile.avatar.map(|avatar| avatar.id),
        profile.avatar.map(|avatar| avatar.version)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a profile and gives up its pictures, those too whose upload is going on; their bytes go with the
/// next run of the job. To be called with what erases the person.
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "identity does not tell yet that somebody is to be erased"
    )
)]
pub(crate) async fn erase(
    conn: &mut PgConnection,
    user_id: UserId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM profile.profiles WHERE user_id = $1", user_id.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "UPDATE profile.avatars SET state = 'dropped', since = $2
          WHERE user_id = $1 AND state <> 'dropped'",
        user_id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Profiles after `after`, locked against edits until the transaction ends: what is told of them
/// in it must not be older than what an edit tells before it.
pub(crate) async fn lock_page(
    conn: &mut PgConnection,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<Profile>, sqlx::Error> {
    let rows = profiles!(
        "WHERE user_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
         ORDER BY user_id
         LIMIT $2
           FOR SHARE",
        after.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Profile::from).collect())
}
