//! `identity.codes`.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{CodePurpose, Email};

/// A code that is to be mailed.
pub(crate) struct NewCode<'a> {
    pub(crate) code_id: Uuid,
    pub(crate) purpose: CodePurpose,
    pub(crate) email: &'a Email,
    pub(crate) code_digest: &'a [u8; 32],
    pub(crate) attempts: i16,
    pub(crate) expires_at: OffsetDateTime,
}

/// To whom a code goes; nobody when there is no account that it could be used for.
pub(crate) struct Recipient {
    pub(crate) user_id: Option<UserId>,
    pub(crate) email: Option<String>,
    pub(crate) locale: Option<String>,
}

/// Nothing when as many codes wait for the address as may. One statement whether or not the address
/// has an account, so that the time it takes does not tell.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &NewCode<'_>,
    max_per_address: i64,
    now: OffsetDateTime,
) -> Result<Option<Recipient>, sqlx::Error> {
    sqlx::query_as!(
        Recipient,
        r#"WITH account AS (
               SELECT user_id, email, locale
                 FROM identity.users
                WHERE email_canonical = $3 AND suspended_at IS NULL
           ), code AS (
               INSERT INTO identity.codes
                   (code_id, purpose, user_id, email_canonical, code_digest, attempts_left,
                    created_at, expires_at)
               SELECT $1, $2, (SELECT user_id FROM account), $3, $4, $5, $6, $7
                 FROM (SELECT count(*) AS pending
                         FROM identity.codes
                        WHERE email_canonical = $3 AND expires_at > $6) AS others
                WHERE others.pending < $8
               RETURNING user_id
           )
           SELECT code.user_id AS "user_id: UserId", account.email AS "email?",
                  account.locale AS "locale?"
             FROM code LEFT JOIN account USING (user_id)"#,
        new.code_id,
        new.purpose.as_str(),
        new.email.canonical(),
        new.code_digest,
        new.attempts,
        now,
        new.expires_at,
        max_per_address
    )
    .fetch_optional(conn)
    .await
}

/// A code that is being tried.
pub(crate) struct Attempted {
    /// None for an address without an account.
    pub(crate) user_id: Option<UserId>,
    pub(crate) email_canonical: String,
    pub(crate) code_digest: Vec<u8>,
}

/// Takes one of the attempts, which the caller's commit makes count. Attempts of one code queue for
/// its row, so that no number of them in parallel gets more than there are.
pub(crate) async fn attempt(
    conn: &mut PgConnection,
    code_id: Uuid,
    purpose: CodePurpose,
    now: OffsetDateTime,
) -> Result<Option<Attempted>, sqlx::Error> {
    sqlx::query_as!(
        Attempted,
        r#"UPDATE identity.codes
              SET attempts_left = attempts_left - 1
            WHERE code_id = $1 AND purpose = $2 AND attempts_left > 0 AND expires_at > $3
           RETURNING user_id AS "user_id: UserId", email_canonical, code_digest"#,
        code_id,
        purpose.as_str(),
        now
    )
    .fetch_optional(conn)
    .await
}

/// Uses a code: it and all others of the account go. False when it is gone already.
pub(crate) async fn take(
    conn: &mut PgConnection,
    code_id: Uuid,
    user_id: UserId,
) -> Result<bool, sqlx::Error> {
    // In one order, so that two who use two codes at once do not wait for each other in a circle.
    sqlx::query_scalar!(
        r#"WITH gone AS (
               DELETE FROM identity.codes
                WHERE code_id IN (SELECT code_id
                                    FROM identity.codes
                                   WHERE user_id = $2
                                   ORDER BY code_id
                                     FOR UPDATE)
               RETURNING code_id
           )
           SELECT EXISTS (SELECT FROM gone WHERE code_id = $1) AS "taken!""#,
        code_id,
        user_id.0
    )
    .fetch_one(conn)
    .await
}

/// Deletes at most `limit` that have expired; returns how many.
pub(crate) async fn purge_expired(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM identity.codes
          WHERE code_id IN (SELECT code_id
                              FROM identity.codes
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
