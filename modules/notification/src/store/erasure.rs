//! Everything of one person, gone.

use kernel::UserId;
use sqlx::PgConnection;

/// Deletes what is kept of a person: deliveries with their timelines, notifications, preferences and
/// read models, and what is known of their address. It is done again at no cost, and has to be once
/// more if an event about the person comes after it.
///
/// What the module has published stays in its log until that is blanked, as everybody's is.
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "identity does not publish yet that a person is erased"
    )
)]
pub(crate) async fn erase(conn: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    let id = user_id.0;
    // By address too: what was sent there before there was an account has no user id.
    sqlx::query!(
        "WITH addresses AS (
             SELECT lower(email) AS address FROM notification.recipient_accounts
              WHERE user_id = $1
             UNION
             SELECT lower(address) FROM notification.deliveries WHERE user_id = $1
         ), suppressions AS (
             DELETE FROM notification.suppressions
              WHERE address IN (SELECT address FROM addresses)
         ), mailbox AS (
             DELETE FROM notification.mailbox
              WHERE lower(recipient) IN (SELECT address FROM addresses)
         )
         DELETE FROM notification.deliveries
          WHERE user_id = $1
             OR (user_id IS NULL AND lower(address) IN (SELECT address FROM addresses))",
        id
    )
    .execute(&mut *conn)
    .await?;
    // Answers to services name whom they told. There is a day of them.
    sqlx::query!(
        "DELETE FROM notification.idempotency_keys WHERE position($1::uuid::text IN body) > 0",
        id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM notification.notifications WHERE user_id = $1",
        id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM notification.counters WHERE user_id = $1", id)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "DELETE FROM notification.preferences WHERE user_id = $1",
        id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM notification.recipient_profiles WHERE user_id = $1",
        id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM notification.recipient_accounts WHERE user_id = $1",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
