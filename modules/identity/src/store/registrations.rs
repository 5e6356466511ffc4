//! `identity.registrations`.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{config::RegistrationConfig, domain::Email};

/// A registration that is to wait for its code.
pub(crate) struct NewRegistration<'a> {
    pub(crate) registration_id: Uuid,
    pub(crate) email: &'a Email,
    /// None for an account that signs in with mailed codes.
    pub(crate) password_hash: Option<&'a str>,
    pub(crate) display_name: Option<&'a str>,
    pub(crate) locale: &'a str,
    pub(crate) time_zone: &'a str,
    pub(crate) code_digest: &'a [u8; 32],
    pub(crate) expires_at: OffsetDateTime,
}

/// To whom a mail about a registration goes.
pub(crate) struct Recipient {
    /// The account's own when there is one: as its owner spelt it.
    pub(crate) email: String,
    pub(crate) locale: String,
    /// Set when the address had an account before: its owner is told, and no code can prove it.
    pub(crate) existing_user_id: Option<UserId>,
    pub(crate) expires_at: OffsetDateTime,
}

/// Nothing when as many registrations wait for the address as may. One statement whether or not
/// the address has an account, so that the time it takes does not tell.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &NewRegistration<'_>,
    bounds: RegistrationConfig,
    now: OffsetDateTime,
) -> Result<Option<Recipient>, sqlx::Error> {
    sqlx::query_as!(
        Recipient,
        r#"INSERT INTO identity.registrations
               (registration_id, email, existing_user_id, password_hash, display_name, locale,
                time_zone, code_digest, attempts_left, resends_left, resend_after, created_at,
                expires_at)
           SELECT $1, coalesce(account.email, $2), account.user_id,
                  CASE WHEN account.user_id IS NULL THEN $3 END,
                  CASE WHEN account.user_id IS NULL THEN $4 END,
                  coalesce(account.locale, $5), $6, $7, $8, $9, $10, $11, $12
             FROM (SELECT count(*) AS pending
                     FROM identity.registrations
                    WHERE email_canonical = $13 AND expires_at > $11) AS others
             LEFT JOIN identity.users AS account ON account.email_canonical = $13
            WHERE others.pending < $14
           RETURNING email, locale, existing_user_id AS "existing_user_id: UserId",
                     expires_at"#,
        new.registration_id,
        new.email.as_str(),
        new.password_hash,
        new.display_name,
        new.locale,
        new.time_zone,
        new.code_digest,
        bounds.attempts,
        bounds.resends,
        now + bounds.resend_pause,
        now,
        new.expires_at,
        new.email.canonical(),
        bounds.max_per_address
    )
    .fetch_optional(conn)
    .await
}

/// A registration whose code is being tried.
pub(crate) struct Attempted {
    pub(crate) email: String,
    pub(crate) password_hash: Option<String>,
    /// Set when the address had an account before.
    pub(crate) existing_user_id: Option<UserId>,
    pub(crate) display_name: Option<String>,
    pub(crate) locale: String,
    pub(crate) time_zone: String,
    pub(crate) code_digest: Vec<u8>,
}

/// Takes one of the attempts, which the caller's commit makes count. Attempts of one registration
/// queue for its row, so that no number of them in parallel gets more than there are.
pub(crate) async fn attempt(
    conn: &mut PgConnection,
    registration_id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Attempted>, sqlx::Error> {
    sqlx::query_as!(
        Attempted,
        r#"UPDATE identity.registrations
              SET attempts_left = attempts_left - 1
            WHERE registration_id = $1 AND attempts_left > 0 AND expires_at > $2
           RETURNING email, password_hash, existing_user_id AS "existing_user_id: UserId",
                     display_name, locale, time_zone, code_digest"#,
        registration_id,
        now
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn delete(
    conn: &mut PgConnection,
    registration_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM identity.registrations WHERE registration_id = $1",
        registration_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the code, with its attempts, if that is due and there are resends left.
pub(crate) async fn replace_code(
    conn: &mut PgConnection,
    registration_id: Uuid,
    code_digest: &[u8; 32],
    bounds: RegistrationConfig,
    now: OffsetDateTime,
) -> Result<Option<Recipient>, sqlx::Error> {
    sqlx::query_as!(
        Recipient,
        r#"UPDATE identity.registrations
              SET code_digest = $2, attempts_left = $3, resends_left = resends_left - 1,
                  resend_after = $4
            WHERE registration_id = $1 AND resends_left > 0 AND resend_after <= $5
              AND expires_at > $5
           RETURNING email, locale, existing_user_id AS "existing_user_id: UserId",
                     expires_at"#,
        registration_id,
        code_digest,
        bounds.attempts,
        now + bounds.resend_pause,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Deletes at most `limit` that have expired; returns how many.
pub(crate) async fn purge_expired(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    // What another instance is purging is skipped, not waited for.
    let done = sqlx::query!(
        "DELETE FROM identity.registrations
          WHERE registration_id IN (SELECT registration_id
                                      FROM identity.registrations
                                     WHERE expires_at <= $1
                                     ORDER BY expires_at
                                     LIMIT $2
                                       FOR UPDATE SKIP LOCKED)",
        now,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
