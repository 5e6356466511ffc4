//! `POST /otlp/v1/logs`: log records of other processes and services (OTLP 1.9, "OTLP/HTTP").

use std::{io::Read, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Request, State as Given},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kernel::{Principal, Problem};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use prost::Message;
use uuid::Uuid;

use crate::{
    State,
    domain::MAX_BATCH_RECORDS,
    otlp::{self, Encoding, OtlpError, Received, Sender},
    store::{received, records},
};

/// How long a request waits for its turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);

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
    match receive(&state, &principal, encoding, request).await {
        Ok(stored) => accepted(encoding, stored),
        Err(problem) => refused(encoding, problem),
    }
}

/// How many records were not taken, and why.
struct Stored {
    rejected: i32,
    reason: Option<String>,
}

async fn receive(
    state: &State,
    principal: &Principal,
    encoding: Encoding,
    mut request: Request,
) -> Result<Stored, Problem> {
    let key = idempotency_key(request.headers())?;
    let gzip = is_gzip(request.headers())?;
    let limit = state.otlp_max_bytes;
    DefaultBodyLimit::max(limit).apply(&mut request);
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::payload_too_large(),
            _ => Problem::malformed(rejection.body_text()),
        })?;

    let turn = tokio::time::timeout(PATIENCE, state.otlp_turns.clone().acquire_owned());
    let turn = turn
        .await
        .map_err(|_| Problem::unavailable("More log records come than can be stored.", 2))?
        .expect("the semaphore is never closed");
    let sender = Sender::new(principal, &state.ours);
    let now = state.world.now();
    // The turn goes along: whoever leaves does not end the work.
    let (received, _turn) = tokio::task::spawn_blocking(move || {
        let body = if gzip {
            decompress(&body, limit)?
        } else {
            body
        };
        let received = otlp::read(encoding, body, &sender, now).map_err(Problem::from)?;
        Ok::<_, Problem>((received, turn))
    })
    .await
    .map_err(Problem::internal)??;
    store(state, key.map(|key| (principal.actor(), key)), received).await
}

async fn store(
    state: &State,
    key: Option<(String, Uuid)>,
    received: Received,
) -> Result<Stored, Problem> {
    let Received {
        records,
        rejected,
        reason,
    } = received;
    let mut stored = Stored { rejected, reason };
    if records.is_empty() {
        return Ok(stored);
    }
    let storing = async {
        let mut tx = state.db.begin().await?;
        if let Some((sender, key)) = &key
            && let Some(before) = received::enter(&mut tx, sender, *key, rejected).await?
        {
            stored.rejected = before;
            return tx.rollback().await;
        }
        for records in records.chunks(MAX_BATCH_RECORDS) {
            let oldest = records::oldest(records, state.world.now()).expect("no chunk is empty");
            let batch = records::begin_batch(&mut tx, None, oldest, state.retention_days).await?;
            records::copy(&mut tx, &batch, records).await?;
        }
        tx.commit().await
    };
    match storing.await {
        Ok(()) => Ok(stored),
        Err(error) if records::is_refusal(&error) => {
            tracing::error!(%error, records = records.len(), "received log records refused");
            Err(Problem::malformed("The database refuses these records."))
        }
        Err(error) => Err(error.into()),
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

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(false);
    };
    match coding.as_bytes().to_ascii_lowercase().as_slice() {
        b"gzip" => Ok(true),
        b"identity" | b"" => Ok(false),
        // RFC 9110 §12.5.3: tells what would do.
        _ => Err(unsupported("Compress with gzip, or not at all.").header(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("gzip, identity"),
        )),
    }
}

/// A UUID, in quotes (draft-ietf-httpapi-idempotency-key-header) or without.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    let key =
        Uuid::try_parse(text).map_err(|_| Problem::malformed("Idempotency-Key must be a UUID."))?;
    Ok(Some(key))
}

/// What is bounded is what comes out: some kilobytes can become gigabytes.
fn decompress(body: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(body)
        .take(limit as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| Problem::malformed(format!("The body is not gzip: {error}.")))?;
    if plain.len() > limit {
        return Err(Problem::payload_too_large());
    }
    Ok(plain.into())
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "The body must be OTLP",
    )
    .detail(detail)
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
fn accepted(encoding: Encoding, stored: Stored) -> Response {
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
