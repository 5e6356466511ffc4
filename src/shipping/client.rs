//! One batch to the destination, and what its answer means (OTLP 1.9, "OTLP/HTTP Response").

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use prost::Message;
use reqwest::{Response, StatusCode, header, redirect};
use spool::Batch;
use url::Url;

use super::TokenSource;

/// Nobody is waited for longer, whatever Retry-After says.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Of an answer, the rest is not read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is stored, but for so many records.
    Taken { rejected: u64, reason: String },
    /// It will never be taken.
    Refused(String),
    /// It may be taken later, and not before this.
    NotNow {
        why: String,
        after: Option<Duration>,
    },
}

#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: Arc<str>,
    token: Arc<dyn TokenSource>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(
        base: &Url,
        token: Arc<dyn TokenSource>,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            // The token is for this destination, not for where it points.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        let base = base.as_str().trim_end_matches('/');
        Ok(Self {
            http,
            url: format!("{base}/otlp/v1/logs").into(),
            token,
            timeout,
        })
    }

    pub(super) async fn send(self, batch: Batch) -> Outcome {
        match tokio::time::timeout(self.timeout, self.post(batch)).await {
            Ok(outcome) => outcome,
            Err(_) => not_now("no answer in time"),
        }
    }

    async fn post(&self, batch: Batch) -> Outcome {
        let token = match self.token.token().await {
            Ok(token) => token,
            Err(error) => return not_now(format!("no token: {error:#}")),
        };
        let request = self
            .http
            .post(&*self.url)
            .bearer_auth(token.expose())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONTENT_ENCODING, "gzip")
            .header("idempotency-key", batch.id.to_string())
            .body(batch.payload);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return not_now(format!("{:#}", anyhow::Error::from(error))),
        };
        let status = response.status();
        let after = retry_after(&response);
        if status == StatusCode::UNAUTHORIZED {
            self.token.refused(&token);
        }
        match status.as_u16() {
            200..=299 => taken(&read(response).await),
            // The batch is at fault, and will be for ever.
            400 | 413 | 415 | 422 => Outcome::Refused(format!("answered {status}")),
            // All else may pass: an outage, a module that is not there yet, a scope that is missing.
            _ => Outcome::NotNow {
                why: format!("answered {status}"),
                after,
            },
        }
    }
}

fn not_now(why: impl Into<String>) -> Outcome {
    Outcome::NotNow {
        why: why.into(),
        after: None,
    }
}

fn taken(body: &[u8]) -> Outcome {
    let answer = ExportLogsServiceResponse::decode(body).unwrap_or_default();
    let ExportLogsPartialSuccess {
        rejected_log_records,
        error_message,
    } = answer.partial_success.unwrap_or_default();
    Outcome::Taken {
        rejected: u64::try_from(rejected_log_records).unwrap_or_default(),
        reason: error_message,
    }
}

/// In seconds; dates are for caches.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// What was stored is stored, even if the rest of the answer is lost.
async fn read(mut response: Response) -> Bytes {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.into()
}
