//! `GET /api/v1/audit/export`: the audit trail as a file, oldest first.

use std::io;

use axum::{
    body::{Body, Bytes},
    extract::State as Given,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{Stream, stream};
use kernel::{Problem, Query};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use super::{
    SearchError, audit_filter::AuditFilterParams, filters::Checks, list_audit::AuditEntry, within,
};
use crate::{
    State,
    store::{
        audit::{self, Filter, Row},
        search::{self, Way},
    },
};

/// Entries in memory at a time; the next are read when these have gone out.
const PAGE: i64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Ndjson,
    Csv,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParams {
    /// Lines of JSON, as the list shows entries; or CSV (RFC 4180) with a first line of names, where a
    /// value that a spreadsheet would take for a formula begins with an apostrophe.
    format: Format,
    // Written out: serde knows no unknown names beside flattened ones.
    actor: Option<String>,
    action: Option<String>,
    target: Option<String>,
    trace_id: Option<String>,
    text: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<time::OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<time::OffsetDateTime>,
}

/// Exports the audit trail, oldest first, up to the entry that is the last when it begins.
///
/// Takes the filters of the list. An answer that ends early was cut off by an error: begin again.
#[utoipa::path(
    get,
    path = "/api/v1/audit/export",
    params(ExportParams),
    responses(
        (
            status = 200, description = "The entries",
            content((String = "application/x-ndjson"), (String = "text/csv"))
        ),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
        (status = 504, description = "`query-too-slow`: narrow it", body = Problem),
    )
)]
#[tracing::instrument(name = "logging.export_audit", skip_all)]
pub(crate) async fn export_audit(
    Given(state): Given<State>,
    Query(params): Query<ExportParams>,
) -> Result<Response, Problem> {
    let format = params.format;
    let filter = AuditFilterParams {
        actor: params.actor,
        action: params.action,
        target: params.target,
        trace_id: params.trace_id,
        text: params.text,
        from: params.from,
        to: params.to,
    };
    let filter = filter.read(Checks::default())?;
    let mut conn = state.db.pool().acquire().await?;
    let ends = audit::ends(&mut conn).await?;
    drop(conn);
    let mut export = Export {
        until: ends.map_or(0, |ends| ends.last_seq),
        after: 0,
        state,
        filter,
        format,
        first: true,
        over: false,
    };
    // What is wrong at once is told with a status, while there is one to give.
    let first = export.next().await?;
    let (content_type, disposition) = match format {
        Format::Ndjson => (
            "application/x-ndjson",
            "attachment; filename=\"audit.ndjson\"",
        ),
        Format::Csv => (
            "text/csv; charset=utf-8",
            "attachment; filename=\"audit.csv\"",
        ),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static(disposition),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(export.pages(first))).into_response())
}

struct Export {
    state: State,
    filter: Filter,
    format: Format,
    /// The last entry that went out.
    after: i64,
    until: i64,
    first: bool,
    over: bool,
}

impl Export {
    fn pages(self, first: Bytes) -> impl Stream<Item = Result<Bytes, io::Error>> {
        stream::unfold((self, Some(first)), |(mut export, ready)| async move {
            if let Some(ready) = ready {
                return Some((Ok(ready), (export, None)));
            }
            if export.over {
                return None;
            }
            let next = export.next().await.map_err(|error| {
                tracing::warn!(%error, "an export of the audit trail was cut off");
                export.over = true;
                io::Error::other(error)
            });
            Some((next, (export, None)))
        })
    }

    async fn next(&mut self) -> Result<Bytes, SearchError> {
        let rows = within(self.state.search_timeout, self.rows()).await?;
        self.over = rows.len() < usize::try_from(PAGE).unwrap_or_default();
        self.after = rows.last().map_or(self.after, |row| row.seq);
        let mut text = String::new();
        if std::mem::take(&mut self.first) && self.format == Format::Csv {
            text.push_str(&COLUMNS.join(","));
            text.push_str("\r\n");
        }
        for row in rows {
            match self.format {
                Format::Ndjson => {
                    let entry = serde_json::to_string(&AuditEntry::from(row));
                    text.push_str(&entry.expect("an entry is plain data"));
                    text.push('\n');
                }
                Format::Csv => push_csv(&mut text, &row),
            }
        }
        Ok(text.into())
    }

    async fn rows(&self) -> Result<Vec<Row>, SearchError> {
        let mut tx = self.state.db.begin().await?;
        search::prepare(&mut tx, self.state.search_timeout, Way::GoBack).await?;
        let rows = audit::oldest(&mut tx, &self.filter, self.after, self.until, PAGE).await?;
        tx.rollback().await?;
        Ok(rows)
    }
}

const COLUMNS: [&str; 14] = [
    "seq",
    "time",
    "publisher",
    "event_id",
    "action",
    "actor",
    "on_behalf_of",
    "target",
    "trace_id",
    "correlation_id",
    "causation_id",
    "client_address",
    "user_agent",
    "data",
];

fn push_csv(text: &mut String, row: &Row) {
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let values: [String; COLUMNS.len()] = [
        row.seq.to_string(),
        row.time.format(&Rfc3339).unwrap_or_default(),
        row.publisher.clone(),
        row.event_id.to_string(),
        row.action.clone(),
        optional(&row.actor),
        optional(&row.on_behalf_of),
        row.target.clone(),
        row.trace_id
            .map(crate::domain::trace::show_trace_id)
            .unwrap_or_default(),
        row.correlation_id.clone(),
        id(row.causation_id),
        optional(&row.client_address),
        optional(&row.user_agent),
        row.data
            .as_ref()
            .map(|data| data.0.get().to_owned())
            .unwrap_or_default(),
    ];
    text.push_str(&values.map(|value| csv(&value)).join(","));
    text.push_str("\r\n");
}

/// In quotation marks (RFC 4180 §2), and nothing that a spreadsheet would run (OWASP, "CSV Injection"):
/// it is people from outside who choose names of programs and the like.
fn csv(value: &str) -> String {
    let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", value.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_a_formula() {
        for (value, written) in [
            ("", "\"\""),
            ("plain, and \"quoted\"\n", "\"plain, and \"\"quoted\"\"\n\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("\t=1", "\"'\t=1\""),
            ("a=1", "\"a=1\""),
        ] {
            assert_eq!(csv(value), written);
        }
    }
}
