//! `notification.sends`: what services asked to have told, and what became of it.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Category, Preferences};

pub(crate) async fn insert(
    conn: &mut PgConnection,
    id: Uuid,
    sender: &str,
    category: Category,
    created_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO notification.sends (id, sender, category, created_at)
         VALUES ($1, $2, $3, $4)",
        id,
        sender,
        category.as_str(),
        created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Somebody to tell something.
pub(crate) struct Addressee {
    pub(crate) user_id: UserId,
    pub(crate) email: String,
    pub(crate) locale: String,
    pub(crate) preferences: Preferences,
}

/// Those of the people who are known, by id: whoever locks their rows does so in one order.
pub(crate) async fn addressees(
    conn: &mut PgConnection,
    user_ids: &[Uuid],
) -> Result<Vec<Addressee>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT a.user_id AS "user_id: UserId", a.email,
                  coalesce(p.locale, a.locale) AS "locale!",
                  coalesce(q.muted, '{}') AS "muted!"
             FROM notification.recipient_accounts AS a
             LEFT JOIN notification.recipient_profiles AS p USING (user_id)
             LEFT JOIN notification.preferences AS q USING (user_id)
            WHERE a.user_id = ANY ($1)
            ORDER BY a.user_id"#,
        user_ids
    )
    .fetch_all(conn)
    .await?;
    let addressees = rows.into_iter().map(|row| Addressee {
        user_id: row.user_id,
        email: row.email,
        locale: row.locale,
        preferences: Preferences::from_column(row.muted),
    });
    Ok(addressees.collect())
}

/// A part of a request: one person, one channel.
pub(crate) struct Part {
    pub(crate) id: Uuid,
    pub(crate) user_id: UserId,
    pub(crate) channel: String,
    pub(crate) status: String,
}

/// Nothing when the sender has asked for no such thing.
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: Uuid,
    sender: &str,
) -> Result<Option<Vec<Part>>, sqlx::Error> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM notification.sends WHERE id = $1 AND sender = $2) AS "x!""#,
        id,
        sender
    )
    .fetch_one(&mut *conn)
    .await?;
    if !known {
        return Ok(None);
    }
    let parts = sqlx::query_as!(
        Part,
        r#"SELECT id AS "id!", user_id AS "user_id!: UserId", channel AS "channel!",
                  status AS "status!"
             FROM (SELECT id, user_id, channel, status FROM notification.deliveries
                    WHERE send_id = $1
                   UNION ALL
                   SELECT id, user_id, 'in_app', 'sent' FROM notification.notifications
                    WHERE send_id = $1) AS parts
            WHERE user_id IS NOT NULL
            ORDER BY user_id, channel"#,
        id
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(parts))
}

/// Deletes at most `limit` of those made before `before`.
pub(crate) async fn purge(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM notification.sends
          WHERE id IN (SELECT id FROM notification.sends
                        WHERE created_at < $1
                        LIMIT $2
                          FOR UPDATE SKIP LOCKED)",
        before,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
