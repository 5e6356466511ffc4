//! `identity.setup_codes`.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// Codes in force at once: of as many restarts and instances.
const MAX: i64 = 10;

/// Puts a new code in force, beside the last few, as long as there is no administrator. False when
/// there is one.
pub(crate) async fn add(
    conn: &mut PgConnection,
    digest: &[u8; 32],
    expires_at: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM identity.setup_codes
              WHERE digest IN (SELECT digest FROM identity.setup_codes
                                ORDER BY expires_at DESC OFFSET $3)
         )
         INSERT INTO identity.setup_codes (digest, expires_at)
         SELECT $1, $2
          WHERE NOT EXISTS (SELECT FROM identity.users WHERE 'admin' = ANY (roles))",
        digest,
        expires_at,
        MAX - 1
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Is the code good, before anything is done for whoever sent it?
pub(crate) async fn is_good(
    conn: &mut PgConnection,
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    // Digests under a secret key: how long the comparison takes tells nothing of the code.
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM identity.setup_codes
                           WHERE digest = $1 AND expires_at > $2) AS "good!""#,
        digest,
        now
    )
    .fetch_one(conn)
    .await
}

/// Uses the code up, and all others with it. False when it is not good (any more), nor is any once there is an administrator:
/// of two who send codes at once, the second waits for the first.
pub(crate) async fn consume(
    conn: &mut PgConnection,
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    sqlx::query!("LOCK TABLE identity.setup_codes IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query!(
        "DELETE FROM identity.setup_codes
          WHERE EXISTS (SELECT FROM identity.setup_codes WHERE digest = $1 AND expires_at > $2)
            AND NOT EXISTS (SELECT FROM identity.users WHERE 'admin' = ANY (roles))",
        digest,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// There is an administrator: no code is good any more.
pub(crate) async fn revoke(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM identity.setup_codes")
        .execute(conn)
        .await?;
    Ok(())
}
