//! `POST /api/v1/logs`: log records of services, as lines of JSON.

use axum::{
    extract::{Request, State as Given},
    http::{HeaderMap, header},
};
use kernel::{Json, Principal, Problem, telemetry::LogRecord};
use serde::Serialize;
use utoipa::ToSchema;

use super::receiving::{Batch, receive, unsupported};
use crate::{
    State,
    lines::{self, Lines},
};

/// What became of the lines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredLines {
    accepted: usize,
    rejected: i32,
    /// What is wrong with the first hundred of those that were rejected.
    errors: Vec<LineError>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineError {
    /// From 1; empty lines count.
    line: usize,
    message: String,
}

impl Batch for Lines {
    fn records(&self) -> &[LogRecord] {
        &self.records
    }

    fn rejected(&self) -> i32 {
        self.rejected
    }

    fn stored_before(&mut self, rejected: i32) {
        self.rejected = rejected;
    }
}

impl From<Lines> for StoredLines {
    fn from(lines: Lines) -> Self {
        let error = |(line, message)| LineError { line, message };
        Self {
            accepted: lines.records.len(),
            rejected: lines.rejected,
            errors: lines.faults.into_iter().map(error).collect(),
        }
    }
}

/// Stores log records. Answered with 200, all are stored but those that it names.
///
/// A line is an object with `message` and, if there is more to say, `time` (RFC 3339; else when it
/// arrives), `level` (else `info`), `service`, `target`, `trace_id` and `span_id`; whatever else it has
/// becomes a field. A line that cannot be read is refused alone. With an `Idempotency-Key`, a UUID, the
/// lines can be sent again within a day when the answer was lost, and are stored once. Records are stored
/// under the name of the service that sent them: `shop`, or `shop/till` when a line says `till`.
#[utoipa::path(
    post,
    path = "/api/v1/logs",
    params((
        "Idempotency-Key" = Option<Uuid>, Header,
        description = "A UUID of the batch: sent again, it is stored once"
    )),
    request_body(
        description = "Lines of JSON, plain or with `Content-Encoding: gzip`; 32,768 at most",
        content = String,
        content_type = "application/x-ndjson"
    ),
    responses(
        (status = 200, description = "What was stored, and what not", body = StoredLines),
        (status = 400, description = "The body or the key cannot be read", body = Problem),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Without the scope logs:write", body = Problem),
        (status = 413, description = "The body or the number of lines is too large", body = Problem),
        (status = 415, description = "Another type or encoding of content", body = Problem),
        (status = 503, description = "The store is behind: come again", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.receive_lines", skip_all)]
pub(crate) async fn receive_lines(
    Given(state): Given<State>,
    principal: Principal,
    request: Request,
) -> Result<Json<StoredLines>, Problem> {
    if !is_ndjson(request.headers()) {
        return Err(unsupported("Send application/x-ndjson."));
    }
    let lines = receive(&state, &principal, request, |body, sender, now| {
        lines::read(&body, sender, now)
            .map_err(|error| Problem::payload_too_large().detail(error.to_string()))
    });
    Ok(Json(lines.await?.into()))
}

/// There is no registered name; these are in use.
fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim();
    [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
    ]
    .iter()
    .any(|name| essence.eq_ignore_ascii_case(name))
}
