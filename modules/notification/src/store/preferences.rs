//! `notification.preferences`.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::{Category, Channel, Preferences, switch};

/// Preferences at a version; 0 when nothing was ever changed.
pub(crate) struct Versioned {
    pub(crate) preferences: Preferences,
    pub(crate) version: i64,
}

pub(crate) async fn find(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<Versioned, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT muted, version FROM notification.preferences WHERE user_id = $1",
        user_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or_else(
        || Versioned {
            preferences: Preferences::default(),
            version: 0,
        },
        |row| Versioned {
            preferences: Preferences::from_column(row.muted),
            version: row.version,
        },
    ))
}

/// Holds them until the transaction ends. Without a row there would be nothing to hold, and of two
/// first edits one would be lost: there is one from here on.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    user_id: UserId,
    now: OffsetDateTime,
) -> Result<Versioned, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO notification.preferences (user_id, version, updated_at) VALUES ($1, 0, $2)
         ON CONFLICT (user_id) DO NOTHING",
        user_id.0,
        now
    )
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query!(
        "SELECT muted, version FROM notification.preferences WHERE user_id = $1 FOR UPDATE",
        user_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(Versioned {
        preferences: Preferences::from_column(row.muted),
        version: row.version,
    })
}

/// Writes what was locked.
pub(crate) async fn update(
    conn: &mut PgConnection,
    user_id: UserId,
    new: &Versioned,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE notification.preferences SET muted = $2, version = $3, updated_at = $4
          WHERE user_id = $1",
        user_id.0,
        &new.preferences.to_column(),
        new.version,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Switches one thing off. False when the person is not known: an old link of somebody who is gone
/// leaves nothing behind.
pub(crate) async fn mute(
    conn: &mut PgConnection,
    user_id: UserId,
    category: Category,
    channel: Channel,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH known AS (
               SELECT user_id FROM notification.recipient_accounts WHERE user_id = $1
           ), muted AS (
               INSERT INTO notification.preferences AS p (user_id, version, muted, updated_at)
               SELECT user_id, 1, ARRAY[$2::text], $3 FROM known
               ON CONFLICT (user_id) DO UPDATE
                  SET muted = p.muted || $2::text, version = p.version + 1, updated_at = $3
                WHERE NOT $2::text = ANY (p.muted)
           )
           SELECT EXISTS (SELECT FROM known) AS "known!""#,
        user_id.0,
        switch(category, channel),
        now
    )
    .fetch_one(conn)
    .await
}
