//! `profile.avatars`: pictures and their states.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::MediaType;

/// Notes that blobs of a picture are about to be stored: from here on, whatever happens, they are known.
pub(crate) async fn announce(
    conn: &mut PgConnection,
    avatar_id: Uuid,
    user_id: UserId,
    media_type: MediaType,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO profile.avatars (avatar_id, user_id, media_type, since) VALUES ($1, $2, $3, $4)",
        avatar_id,
        user_id.0,
        media_type.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// False when the picture was given up meanwhile.
pub(crate) async fn keep(
    conn: &mut PgConnection,
    avatar_id: Uuid,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE profile.avatars SET state = 'kept', since = $2
          WHERE avatar_id = $1 AND state = 'pending'",
        avatar_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The picture that a person has is theirs no longer.
pub(crate) async fn drop_kept(
    conn: &mut PgConnection,
    user_id: UserId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE profile.avatars SET state = 'dropped', since = $2
          WHERE user_id = $1 AND state = 'kept'",
        user_id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The picture with this address, as its blobs are named, and its media type.
pub(crate) async fn find(
    conn: &mut PgConnection,
    user_id: UserId,
    version: Uuid,
) -> Result<Option<(Uuid, String)>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT a.avatar_id, a.media_type
           FROM profile.profiles p
           JOIN profile.avatars a ON a.avatar_id = p.avatar_id
          WHERE p.user_id = $1 AND p.avatar_version = $2",
        user_id.0,
        version
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.avatar_id, row.media_type)))
}

/// Gives up pictures whose storing began before `before`: whoever was at it has died.
pub(crate) async fn give_up(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE profile.avatars SET state = 'dropped', since = $2
          WHERE state = 'pending' AND since < $1",
        before,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Pictures whose blobs are to be removed, those that wait longest first.
pub(crate) async fn dropped(conn: &mut PgConnection, limit: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT avatar_id FROM profile.avatars WHERE state = 'dropped' ORDER BY since LIMIT $1",
        limit
    )
    .fetch_all(conn)
    .await
}

/// The last of pictures whose blobs are gone.
pub(crate) async fn forget(
    conn: &mut PgConnection,
    avatar_ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM profile.avatars WHERE avatar_id = ANY ($1) AND state = 'dropped'",
        avatar_ids
    )
    .execute(conn)
    .await?;
    Ok(())
}
