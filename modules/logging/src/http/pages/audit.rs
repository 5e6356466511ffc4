//! `/admin/audit`: who did what to what, and whether the trail is as it was written.

use askama::Template;
use axum::{
    extract::State as Given,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use kernel::{
    Form, Fragment, Language, Principal, Problem, Query,
    page::{PageParams, cursor_after},
};
use serde::Deserialize;
use time::{Date, Duration, OffsetDateTime, macros::format_description};

use super::view::{Entry, link, moment, words};
use crate::{
    State,
    http::{
        audit_filter::AuditFilterParams,
        audit_verification::{self, state_of},
        filters::Checks,
        list_audit, within,
    },
    store::verifications::{self, Verification},
};

const PATH: &str = "/admin/audit";
const ON_A_PAGE: i64 = 50;

/// As the form has them: empty ones were left out.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Params {
    text: String,
    actor: String,
    action: String,
    target: String,
    trace_id: String,
    /// Days (UTC), both included.
    from: String,
    to: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct Page<'a> {
    params: &'a Params,
    alert: Option<String>,
    entries: Vec<Entry>,
    newest: Option<String>,
    older: Option<String>,
    csv: String,
    ndjson: String,
    verification: Option<Verified>,
}

struct Verified {
    state: &'static str,
    badge: &'static str,
    at: String,
    by: String,
    verified: i64,
    total: i64,
    erased: i64,
    head: Option<String>,
    fault: Option<String>,
}

#[tracing::instrument(name = "logging.page.audit", skip_all)]
pub(super) async fn page(
    Given(state): Given<State>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let (from, to) = (
        day(&params.from),
        day(&params.to).map(|day| day + Duration::DAY),
    );
    let rfc3339 = |time: Option<OffsetDateTime>| {
        let format = time::format_description::well_known::Rfc3339;
        time.and_then(|time| time.format(&format).ok())
            .unwrap_or_default()
    };
    let (from_text, to_text) = (rfc3339(from), rfc3339(to));
    let export = |format| {
        link(
            "/api/v1/audit/export",
            &[
                ("format", format),
                ("text", params.text.trim()),
                ("actor", params.actor.trim()),
                ("action", params.action.trim()),
                ("target", params.target.trim()),
                ("trace_id", params.trace_id.trim()),
                ("from", &from_text),
                ("to", &to_text),
            ],
        )
    };
    let here = |cursor: &str| {
        link(
            PATH,
            &[
                ("text", &params.text),
                ("actor", &params.actor),
                ("action", &params.action),
                ("target", &params.target),
                ("trace_id", &params.trace_id),
                ("from", &params.from),
                ("to", &params.to),
                ("cursor", cursor),
            ],
        )
    };
    let filter = AuditFilterParams {
        actor: given(&params.actor),
        action: given(&params.action),
        target: given(&params.target),
        trace_id: given(&params.trace_id),
        text: given(&params.text),
        from,
        to,
    };
    let cursor = PageParams {
        cursor: params.cursor.clone(),
        limit: None,
    };
    let found = async {
        let before = cursor.cursor::<i64>()?;
        let filter = filter.read(Checks::default())?;
        let rows = list_audit::find(&state, &filter, before, ON_A_PAGE + 1);
        Ok::<_, Problem>(within(state.search_timeout, rows).await?)
    };
    let (status, mut rows, alert) = match found.await {
        Ok(rows) => (StatusCode::OK, rows, None),
        Err(problem) if problem.status < 500 || problem.status == 504 => {
            (problem.status_code(), Vec::new(), Some(words(&problem)))
        }
        Err(problem) => return Err(problem),
    };
    let shown = usize::try_from(ON_A_PAGE).unwrap_or_default();
    let more = rows.len() > shown;
    rows.truncate(shown);
    let older = rows
        .last()
        .filter(|_| more)
        .map(|row| here(&cursor_after(&row.seq)));
    let mut conn = state.db.pool().acquire().await?;
    let verification = verifications::newest(&mut conn).await?;
    let page = Page {
        alert,
        entries: rows.into_iter().map(Entry::from).collect(),
        newest: params.cursor.is_some().then(|| here("")),
        older,
        csv: export("csv"),
        ndjson: export("ndjson"),
        verification: verification.map(Verified::from),
        params: &params,
    };
    Ok(Fragment::with_status(
        status,
        "Audit trail",
        Language::En,
        &page,
    ))
}

/// A day of a form; one that is none is as good as none.
fn day(text: &str) -> Option<OffsetDateTime> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    (1970..9000)
        .contains(&day.year())
        .then(|| day.midnight().assume_utc())
}

impl From<Verification> for Verified {
    fn from(verification: Verification) -> Self {
        let state = state_of(&verification);
        Self {
            state,
            badge: match state {
                "intact" => "good",
                "broken" => "wrong",
                _ => "info",
            },
            at: moment(
                verification
                    .finished_at
                    .unwrap_or(verification.requested_at),
            ),
            by: verification.requested_by,
            verified: verification.verified,
            total: verification.total,
            erased: verification.erased,
            head: verification.head,
            fault: verification.fault,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

#[tracing::instrument(name = "logging.page.verify_audit", skip_all)]
pub(super) async fn verify(
    Given(state): Given<State>,
    principal: Principal,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Problem> {
    audit_verification::run(&state, &principal).await?;
    Ok(Redirect::to(PATH).into_response())
}
