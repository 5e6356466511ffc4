//! `GET` and `POST /api/v1/audit/verification`: is the audit trail as it was written?

use axum::{extract::State as Given, http::StatusCode};
use kernel::{Json, Principal, Problem};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    State,
    store::verifications::{self, Verification},
};

/// A verification of the whole trail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditVerification {
    id: Uuid,
    requested_by: String,
    #[serde(with = "time::serde::rfc3339")]
    requested_at: OffsetDateTime,
    /// `running`, `intact` or `broken`.
    state: &'static str,
    /// Entries that were found right so far.
    verified: i64,
    /// Of how many.
    total: i64,
    /// Entries whose content was erased.
    erased: i64,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    finished_at: Option<OffsetDateTime>,
    /// The end of the chain, as `SEQ:HASH`: kept elsewhere, it shows later that the tail was cut off or
    /// the whole chain rewritten (`banyan audit verify --expect`).
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    /// The first thing that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// The state of a verification, as it is told.
pub(super) fn state_of(verification: &Verification) -> &'static str {
    match (&verification.finished_at, &verification.fault) {
        (None, _) => "running",
        (Some(_), None) => "intact",
        (Some(_), Some(_)) => "broken",
    }
}

impl From<Verification> for AuditVerification {
    fn from(verification: Verification) -> Self {
        Self {
            state: state_of(&verification),
            id: verification.id,
            requested_by: verification.requested_by,
            requested_at: verification.requested_at,
            verified: verification.verified,
            total: verification.total,
            erased: verification.erased,
            finished_at: verification.finished_at,
            head: verification.head,
            fault: verification.fault,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditVerifications {
    /// The one that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<AuditVerification>,
    /// The last that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<AuditVerification>,
}

/// Shows the last verification of the audit trail, and the one under way.
#[utoipa::path(
    get,
    path = "/api/v1/audit/verification",
    responses(
        (status = 200, description = "What is known", body = AuditVerifications),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.show_audit_verification", skip_all)]
pub(crate) async fn show_audit_verification(
    Given(state): Given<State>,
) -> Result<Json<AuditVerifications>, Problem> {
    let mut conn = state.db.pool().acquire().await?;
    let newest = verifications::newest(&mut conn).await?;
    let last = verifications::last(&mut conn).await?;
    Ok(Json(AuditVerifications {
        running: newest.filter(|v| v.finished_at.is_none()).map(Into::into),
        last: last.map(Into::into),
    }))
}

/// Has the whole audit trail verified, beside the requests. While one is under way, no other begins.
#[utoipa::path(
    post,
    path = "/api/v1/audit/verification",
    responses(
        (status = 202, description = "It is under way", body = AuditVerification),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.run_audit_verification", skip_all)]
pub(crate) async fn run_audit_verification(
    Given(state): Given<State>,
    principal: Principal,
) -> Result<(StatusCode, Json<AuditVerification>), Problem> {
    let verification = run(&state, &principal).await?;
    Ok((StatusCode::ACCEPTED, Json(verification.into())))
}

pub(super) async fn run(state: &State, principal: &Principal) -> Result<Verification, Problem> {
    let mut tx = state.db.begin().await?;
    verifications::request(&mut tx, state.world.uuid(), &principal.actor()).await?;
    let newest = verifications::newest(&mut tx).await?;
    tx.commit().await?;
    state.verify.notify_one();
    newest.ok_or_else(|| Problem::unavailable("The verification has just been forgotten.", 1))
}
