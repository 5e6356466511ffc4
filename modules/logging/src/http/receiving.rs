//! What the routes that take log records have in common: bounds, compression, turns, and storing a
//! batch once.

use std::{io::Read, time::Duration};

use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use kernel::{Principal, Problem, telemetry::LogRecord};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    State,
    domain::MAX_BATCH_RECORDS,
    otlp::Sender,
    store::{received, records},
    tail,
};

/// How long a request waits for its turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was read of a request.
pub(super) trait Batch: Send + 'static {
    fn records(&self) -> &[LogRecord];
    /// Records that were refused.
    fn rejected(&self) -> i32;
    /// The same was stored before, and so many of it were refused then.
    fn stored_before(&mut self, rejected: i32);
}

/// Reads the records of a request, away from the runtime, and stores them in one transaction.
pub(super) async fn receive<B: Batch>(
    state: &State,
    principal: &Principal,
    mut request: Request,
    read: impl FnOnce(Bytes, &Sender, OffsetDateTime) -> Result<B, Problem> + Send + 'static,
) -> Result<B, Problem> {
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
    let (mut batch, _turn) = tokio::task::spawn_blocking(move || {
        let body = if gzip {
            decompress(&body, limit)?
        } else {
            body
        };
        Ok::<_, Problem>((read(body, &sender, now)?, turn))
    })
    .await
    .map_err(Problem::internal)??;
    store(state, key.map(|key| (principal.actor(), key)), &mut batch).await?;
    Ok(batch)
}

async fn store<B: Batch>(
    state: &State,
    key: Option<(String, Uuid)>,
    batch: &mut B,
) -> Result<(), Problem> {
    if batch.records().is_empty() {
        return Ok(());
    }
    let storing = async {
        let mut tx = state.db.begin().await?;
        if let Some((sender, key)) = &key
            && let Some(before) = received::enter(&mut tx, sender, *key, batch.rejected()).await?
        {
            batch.stored_before(before);
            return tx.rollback().await;
        }
        for records in batch.records().chunks(MAX_BATCH_RECORDS) {
            let oldest = records::oldest(records, state.world.now()).expect("no chunk is empty");
            let block = records::begin_batch(&mut tx, None, oldest, state.retention_days).await?;
            records::copy(&mut tx, &block, records).await?;
            tail::announce(&mut tx, &state.db, &block, records);
        }
        tx.commit().await
    };
    match storing.await {
        Ok(()) => Ok(()),
        Err(error) if records::is_refusal(&error) => {
            let records = batch.records().len();
            tracing::error!(%error, records, "received log records refused");
            Err(Problem::malformed("The database refuses these records."))
        }
        Err(error) => Err(error.into()),
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

pub(super) fn unsupported(detail: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "The body must be log records",
    )
    .detail(detail)
}
