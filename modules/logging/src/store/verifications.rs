//! Verifications of the audit trail.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(crate) struct Verification {
    pub(crate) id: Uuid,
    pub(crate) requested_by: String,
    pub(crate) requested_at: OffsetDateTime,
    pub(crate) verified: i64,
    pub(crate) total: i64,
    pub(crate) erased: i64,
    pub(crate) finished_at: Option<OffsetDateTime>,
    pub(crate) head: Option<String>,
    pub(crate) fault: Option<String>,
}

/// One that somebody works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) id: Uuid,
    attempt: i32,
}

/// How it ended.
pub(crate) struct Outcome {
    pub(crate) verified: i64,
    pub(crate) erased: i64,
    pub(crate) head: Option<String>,
    pub(crate) fault: Option<String>,
}

/// Asks for one, unless one is asked for already. Those of long ago are forgotten.
pub(crate) async fn request(
    conn: &mut PgConnection,
    id: Uuid,
    requested_by: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH forgotten AS (
             DELETE FROM logging.audit_verifications
              WHERE finished_at IS NOT NULL AND requested_at < clock_timestamp() - interval '90 days'
         )
         INSERT INTO logging.audit_verifications (id, requested_by) VALUES ($1, $2)
         ON CONFLICT DO NOTHING",
        id,
        requested_by
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest, whether it has ended or not.
pub(crate) async fn newest(conn: &mut PgConnection) -> Result<Option<Verification>, sqlx::Error> {
    sqlx::query_as!(
        Verification,
        "SELECT id, requested_by, requested_at, verified, total, erased, finished_at, head, fault
           FROM logging.audit_verifications
          ORDER BY requested_at DESC LIMIT 1"
    )
    .fetch_optional(conn)
    .await
}

/// The newest that has ended.
pub(crate) async fn last(conn: &mut PgConnection) -> Result<Option<Verification>, sqlx::Error> {
    sqlx::query_as!(
        Verification,
        "SELECT id, requested_by, requested_at, verified, total, erased, finished_at, head, fault
           FROM logging.audit_verifications
          WHERE finished_at IS NOT NULL
          ORDER BY requested_at DESC LIMIT 1"
    )
    .fetch_optional(conn)
    .await
}

/// Takes one that nobody works on.
pub(crate) async fn claim(conn: &mut PgConnection) -> Result<Option<Claim>, sqlx::Error> {
    sqlx::query_as!(
        Claim,
        "UPDATE logging.audit_verifications
            SET attempt = attempt + 1, verified = 0,
                claimed_until = clock_timestamp() + interval '1 minute'
          WHERE finished_at IS NULL
            AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
      RETURNING id, attempt"
    )
    .fetch_optional(conn)
    .await
}

/// Says how far it has come, and keeps it claimed. False when another has it.
pub(crate) async fn progress(
    conn: &mut PgConnection,
    claim: Claim,
    verified: i64,
    total: i64,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query!(
        "UPDATE logging.audit_verifications
            SET verified = $3, total = $4,
                claimed_until = clock_timestamp() + interval '1 minute'
          WHERE id = $1 AND attempt = $2 AND finished_at IS NULL",
        claim.id,
        claim.attempt,
        verified,
        total
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

pub(crate) async fn finish(
    conn: &mut PgConnection,
    claim: Claim,
    outcome: &Outcome,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE logging.audit_verifications
            SET finished_at = clock_timestamp(), verified = $3, total = greatest(total, $3),
                erased = $4, head = $5, fault = $6
          WHERE id = $1 AND attempt = $2 AND finished_at IS NULL",
        claim.id,
        claim.attempt,
        outcome.verified,
        outcome.erased,
        outcome.head,
        outcome.fault
    )
    .execute(conn)
    .await?;
    Ok(())
}
