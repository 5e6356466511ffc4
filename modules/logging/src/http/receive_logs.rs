//! `POST /otlp/v1/logs`: log records of other processes and services (OTLP 1.9, "OTLP/HTTP").

use axum::{
    body::Body,
    extract::{Request, State as Given},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use kernel::{Principal, Problem, telemetry::LogRecord};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use prost::Message;

use super::receiving::{Batch, receive, unsupported};
use crate::{
    State,
    otlp::{self, Encoding, OtlpError, Received},
};

const PROTOBUF: &str = "application/x-protobuf";

/// Stores log records of another process or service. Answered with 200, they are stored.
///
/// The body is an `ExportLogsServiceRequest` in protobuf or JSON, as it is or with
/// `Content-Encoding: gzip`. With an `Idempotency-Key`, a UUID, it can be sent again within a day
/// when the answer was lost, and is stored once. 429, 502, 503 and 504 mean to come again, after
/// `Retry-After`; nothing else does. Records are stored under the name of the service that sent them.
#[utoipa::path(
    post,
    path = "/otlp/v1/logs",
    params((
        "Idempotency-Key" = Option<Uuid>, Header,
        description = "A UUID of the batch: sent again, it is stored once"
    )),
    request_body(
        description = "ExportLogsServiceRequest",
        content(("application/x-protobuf"), ("application/json"))
    ),
    responses(
        (
            status = 200,
            description = "ExportLogsServiceResponse: all are stored but those that it counts",
            content(("application/x-protobuf"), ("application/json"))
        ),
        (status = 400, description = "The body or the key cannot be read", body = Problem),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Without the scope logs:write", body = Problem),
        (status = 413, description = "The body or the number of records is too large", body = Problem),
        (status = 415, description = "Another type or encoding of content", body = Problem),
        (status = 503, description = "The store is behind: come again", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.receive_logs", skip_all)]
pub(crate) async fn receive_logs(
    Given(state): Given<State>,
    principal: Principal,
    request: Request,
) -> Response {
    let Some(encoding) = encoding(request.headers()) else {
        let why = "Send application/x-protobuf or application/json.";
        return unsupported(why).into_response();
    };
    let received = receive(&state, &principal, request, move |body, sender, now| {
        otlp::read(encoding, body, sender, now).map_err(Problem::from)
    });
    match received.await {
        Ok(stored) => accepted(encoding, stored),
        Err(problem) => refused(encoding, problem),
    }
}

impl Batch for Received {
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

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let essence = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = essence.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(PROTOBUF) {
        Some(Encoding::Protobuf)
    } else if essence.eq_ignore_ascii_case("application/json") {
        Some(Encoding::Json)
    } else {
        None
    }
}

impl From<OtlpError> for Problem {
    fn from(error: OtlpError) -> Self {
        match error {
            OtlpError::Malformed(_) => Self::malformed(error.to_string()),
            OtlpError::TooMany => Self::payload_too_large().detail(error.to_string()),
        }
    }
}

/// In the encoding of the request, as OTLP wants it. Without `partialSuccess` when there is nothing
/// to tell.
fn accepted(encoding: Encoding, stored: Received) -> Response {
    let partial_success = (stored.rejected > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: stored.rejected.into(),
        error_message: stored.reason.unwrap_or_default(),
    });
    match encoding {
        Encoding::Protobuf => {
            let answer = ExportLogsServiceResponse { partial_success };
            ([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response()
        }
        // Written out: 64-bit numbers are strings in protobuf's JSON.
        Encoding::Json => kernel::Json(match partial_success {
            None => serde_json::json!({}),
            Some(partial) => serde_json::json!({ "partialSuccess": {
                "rejectedLogRecords": partial.rejected_log_records.to_string(),
                "errorMessage": partial.error_message,
            }}),
        })
        .into_response(),
    }
}

/// `google.rpc.Status`, of which OTLP uses the message alone.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

/// A caller of protobuf is answered in it (OTLP, "Failures"). One of JSON gets the problem document
/// that every error of this API is: its `detail` says more than a `Status` would.
fn refused(encoding: Encoding, problem: Problem) -> Response {
    if encoding == Encoding::Json {
        return problem.into_response();
    }
    let status = Status {
        message: problem.detail.clone().unwrap_or(problem.title.clone()),
    };
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    *response.body_mut() = Body::from(status.encode_to_vec());
    response
}
