//! `identity.setup_codes`.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// Puts a new code in the place of any other, as long as there is no administrator. False when
/// there is one.
pub(crate) async fn replace(
    conn: &mut PgConnection,
    digest: &[u8; 32],
    expires_at: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO identity.setup_codes AS code (digest, expires_at)
         SELECT $1, $2
          WHERE NOT EXISTS (SELECT FROM identity.users WHERE 'admin' = ANY (roles))
         ON CONFLICT (one)
         DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at",
        digest,
        expires_at
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

/// Uses the code up. False when it is not good (any more): of two who send it at once, the second
/// waits for the first and then finds nothing. Nor is it good once there is an administrator.
pub(crate) async fn consume(
    conn: &mut PgConnection,
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM identity.setup_codes
          WHERE digest = $1 AND expires_at > $2
            AND NOT EXISTS (SELECT FROM identity.users WHERE 'admin' = ANY (roles))",
        digest,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// There is an administrator: no code is good any more.
pub(crate) async fn revoke(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM identity.setup_codes")
        .execute(conn)
        .await?;
    Ok(())
}
