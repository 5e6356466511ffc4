//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a POST that is sent twice takes
//! effect once, and is answered alike.
//!
//! The answer is kept by the module, in the transaction of what it answers for, in a table of its
//! own schema:
//!
//! ```sql
//! CREATE TABLE <module>.idempotency_keys (
//!     principal   text        NOT NULL CHECK (char_length(principal) <= 200),
//!     key         text        NOT NULL CHECK (char_length(key) <= 200),
//!     fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
//!     status      smallint,
//!     body        text        CHECK (octet_length(body) <= 262144),
//!     created_at  timestamptz NOT NULL,
//!     CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key)
//! );
//! CREATE INDEX idempotency_keys_created_at_idx ON <module>.idempotency_keys USING brin (created_at);
//! ```
//!
//! Of two requests at a time the second waits at the primary key, and finds the first one's answer
//! when that has committed. A request that was refused has changed nothing and keeps no answer.
//! Answers that carry tokens are not for this table.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};
use time::{Duration, OffsetDateTime};

use crate::{db::Tx, mime::JSON, principal::Principal, problem::Problem, secret::token_digest};

/// A repetition is known as one for this long.
pub const KEPT_FOR: Duration = Duration::DAY;

const MAX_KEY_CHARS: usize = 200;

/// Who repeats what, by which key; without a key nothing is a repetition. An extractor.
#[derive(Clone, Debug)]
pub struct Idempotent {
    /// One principal's keys are nothing to another.
    principal: String,
    /// Of the request's meaning, beside its body.
    route: String,
    key: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Idempotent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let principal = Principal::from_request_parts(parts, state).await?.actor();
        Ok(Self {
            principal,
            route: format!("{} {}", parts.method, parts.uri.path()),
            key: key(&parts.headers)?,
        })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let malformed = || {
        Problem::malformed(format!(
            "Idempotency-Key is one string of 1 to {MAX_KEY_CHARS} visible ASCII characters."
        ))
    };
    let text = value.to_str().map_err(|_| malformed())?.trim();
    // A string of RFC 8941 stands in quotes; most clients leave them out.
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    if values.next().is_some() || !plain || !(1..=MAX_KEY_CHARS).contains(&text.len()) {
        return Err(malformed());
    }
    Ok(Some(text.to_owned()))
}

/// Whether the request is the first of its key.
pub enum Begun {
    /// Do the work, and [`finish`](Slot::finish).
    First(Slot),
    /// It was done: this was answered.
    Again(Answer),
}

/// Where the answer goes, in the transaction that it was begun in.
#[must_use = "without an answer, a repetition cannot be answered"]
pub struct Slot(Option<(String, String)>);

/// An answer in JSON, the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    body: String,
}

impl Idempotent {
    /// Takes the key for this transaction. `request` is what the key must stand for each time.
    pub async fn begin(self, tx: &mut Tx, request: &impl Serialize) -> Result<Begun, Problem> {
        let Self {
            principal,
            route,
            key,
        } = self;
        let Some(key) = key else {
            return Ok(Begun::First(Slot(None)));
        };
        let request = serde_json::to_string(request).map_err(Problem::internal)?;
        let fingerprint = token_digest(&format!("{route}\n{request}"));
        let (table, now) = (table(tx.module()), tx.now());
        // One that is too old to count is taken over.
        let first = format!(
            "INSERT INTO {table} AS k (principal, key, fingerprint, created_at)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (principal, key) DO UPDATE
                SET fingerprint = $3, created_at = $4, status = NULL, body = NULL
              WHERE k.created_at <= $5"
        );
        let done = sqlx::query(AssertSqlSafe(first))
            .bind(&principal)
            .bind(&key)
            .bind(&fingerprint[..])
            .bind(now)
            .bind(now - KEPT_FOR)
            .execute(&mut **tx)
            .await?;
        if done.rows_affected() == 1 {
            return Ok(Begun::First(Slot(Some((principal, key)))));
        }
        let kept = format!(
            "SELECT fingerprint, status, body FROM {table} WHERE principal = $1 AND key = $2"
        );
        let (kept, status, body): (Vec<u8>, Option<i16>, Option<String>) =
            sqlx::query_as(AssertSqlSafe(kept))
                .bind(&principal)
                .bind(&key)
                .fetch_one(&mut **tx)
                .await?;
        if kept != fingerprint {
            return Err(reused());
        }
        let status = status.and_then(|status| u16::try_from(status).ok());
        match (status.and_then(|s| StatusCode::from_u16(s).ok()), body) {
            (Some(status), Some(body)) => Ok(Begun::Again(Answer { status, body })),
            _ => Err(Problem::internal(anyhow::anyhow!(
                "an idempotency key was committed without an answer"
            ))),
        }
    }
}

impl Slot {
    /// Keeps the answer, if there is a key to keep it by. Commit next.
    pub async fn finish(
        self,
        tx: &mut Tx,
        status: StatusCode,
        body: &impl Serialize,
    ) -> Result<Answer, Problem> {
        let body = serde_json::to_string(body).map_err(Problem::internal)?;
        if let Self(Some((principal, key))) = self {
            let keep = format!(
                "UPDATE {} SET status = $3, body = $4 WHERE principal = $1 AND key = $2",
                table(tx.module())
            );
            sqlx::query(AssertSqlSafe(keep))
                .bind(principal)
                .bind(key)
                .bind(i16::try_from(status.as_u16()).map_err(Problem::internal)?)
                .bind(&body)
                .execute(&mut **tx)
                .await?;
        }
        Ok(Answer { status, body })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static(JSON))];
        (self.status, json, self.body).into_response()
    }
}

/// 422: the key was used for something else.
fn reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "The Idempotency-Key was used for another request",
    )
    .detail("A new request needs a new key.")
}

/// Deletes at most `limit` that no longer count, of the module's.
pub async fn purge(
    conn: &mut PgConnection,
    module: &str,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let table = table(module);
    let purge = format!(
        "DELETE FROM {table}
          WHERE (principal, key) IN (SELECT principal, key FROM {table}
                                      WHERE created_at <= $1
                                      LIMIT $2
                                        FOR UPDATE SKIP LOCKED)"
    );
    let done = sqlx::query(AssertSqlSafe(purge))
        .bind(now - KEPT_FOR)
        .bind(limit)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// A module's name is a word of the program's own, and the name of its schema.
fn table(module: &str) -> String {
    format!("{module}.idempotency_keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", value.parse().unwrap());
        }
        key(&headers).map_err(|problem| problem.status)
    }

    #[test]
    fn keys_are_one_bounded_word_with_or_without_quotes() {
        let some = |key: &str| Ok(Some(key.to_owned()));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["8e03978e-40d5"]), some("8e03978e-40d5"));
        assert_eq!(read(&["\"8e03978e-40d5\""]), some("8e03978e-40d5"));
        assert_eq!(read(&[&"k".repeat(200)]), some(&"k".repeat(200)));
        for bad in ["", "\"\"", "a b", "a\"b", "\"a", "ä", &"k".repeat(201)] {
            assert_eq!(read(&[bad]), Err(400), "{bad}");
        }
        assert_eq!(read(&["a", "a"]), Err(400));
    }
}
