//! `notification.mailbox`.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::mail::Mail;

/// A mail in the development mailbox.
pub(crate) struct Kept {
    pub(crate) id: Uuid,
    pub(crate) recipient: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    pub(crate) sent_at: OffsetDateTime,
}

/// Keeps a mail. One that is there already, by its Message-ID, stays as it is.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    id: Uuid,
    mail: &Mail,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO notification.mailbox
             (id, message_id, recipient, subject, text, html, sent_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (message_id) DO NOTHING",
        id,
        mail.message_id,
        mail.to.to_string(),
        mail.content.subject,
        mail.content.text,
        mail.content.html,
        mail.date
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest, newest first.
pub(crate) async fn newest(conn: &mut PgConnection, limit: i64) -> Result<Vec<Kept>, sqlx::Error> {
    sqlx::query_as!(
        Kept,
        "SELECT id, recipient, subject, text, html, sent_at
           FROM notification.mailbox
          ORDER BY sent_at DESC, id DESC
          LIMIT $1",
        limit
    )
    .fetch_all(conn)
    .await
}

/// The newest to an address, newest first.
pub(crate) async fn newest_to(
    conn: &mut PgConnection,
    address: &str,
    limit: i64,
) -> Result<Vec<Kept>, sqlx::Error> {
    sqlx::query_as!(
        Kept,
        "SELECT id, recipient, subject, text, html, sent_at
           FROM notification.mailbox
          WHERE lower(recipient) = lower($1)
          ORDER BY sent_at DESC, id DESC
          LIMIT $2",
        address,
        limit
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn find(conn: &mut PgConnection, id: Uuid) -> Result<Option<Kept>, sqlx::Error> {
    sqlx::query_as!(
        Kept,
        "SELECT id, recipient, subject, text, html, sent_at
           FROM notification.mailbox
          WHERE id = $1",
        id
    )
    .fetch_optional(conn)
    .await
}

/// Deletes all but the newest `keep`.
pub(crate) async fn purge(conn: &mut PgConnection, keep: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM notification.mailbox
          WHERE (sent_at, id) <= (SELECT sent_at, id
                                    FROM notification.mailbox
                                   ORDER BY sent_at DESC, id DESC
                                  OFFSET $1 LIMIT 1)",
        keep
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
