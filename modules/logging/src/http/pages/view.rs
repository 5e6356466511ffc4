//! What pages show of records and entries.

use kernel::Problem;
use serde_json::value::RawValue;
use time::{OffsetDateTime, UtcOffset, macros::format_description};
use url::form_urlencoded;

use crate::{
    domain::{
        level::Level,
        trace::{show_span_id, show_trace_id},
        visible::{first_line, visible},
    },
    http::search_logs::{Cursor, cursor_of},
    store::{audit, record_search},
};

/// More of a message is shown when it is opened.
const LINE_CHARS: usize = 240;

/// A log record.
pub(super) struct Record {
    pub(super) id: i64,
    pub(super) at: OffsetDateTime,
    pub(super) time: String,
    pub(super) skewed: Option<String>,
    pub(super) level: &'static str,
    pub(super) service: String,
    pub(super) target: String,
    pub(super) line: String,
    pub(super) message: String,
    pub(super) fields: String,
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
    pub(super) place: Cursor,
}

impl From<record_search::Row> for Record {
    fn from(row: record_search::Row) -> Self {
        Self {
            id: row.id,
            at: row.time,
            place: cursor_of(&row),
            time: moment(row.time),
            skewed: row.skewed_time.map(moment),
            level: Level::of_severity(row.level).name(),
            service: visible(&row.service),
            target: visible(&row.target),
            line: first_line(&row.message, LINE_CHARS),
            message: visible(&row.message),
            fields: pretty(&row.fields.0),
            trace_id: row.trace_id.map(show_trace_id),
            span_id: row.span_id.map(show_span_id),
        }
    }
}

/// An entry of the audit trail.
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) at: OffsetDateTime,
    pub(super) time: String,
    pub(super) publisher: String,
    pub(super) event_id: String,
    pub(super) action: String,
    pub(super) actor: Option<String>,
    pub(super) on_behalf_of: Option<String>,
    pub(super) target: String,
    pub(super) trace_id: Option<String>,
    pub(super) client_address: Option<String>,
    pub(super) user_agent: Option<String>,
    /// None once erased.
    pub(super) data: Option<String>,
}

impl From<audit::Row> for Entry {
    fn from(row: audit::Row) -> Self {
        let shown = |text: Option<String>| text.map(|text| visible(&text));
        Self {
            seq: row.seq,
            at: row.time,
            time: moment(row.time),
            publisher: row.publisher,
            event_id: row.event_id.to_string(),
            action: visible(&row.action),
            actor: shown(row.actor),
            on_behalf_of: shown(row.on_behalf_of),
            target: visible(&row.target),
            trace_id: row.trace_id.map(show_trace_id),
            client_address: row.client_address,
            user_agent: shown(row.user_agent),
            data: row.data.map(|data| pretty(&data.0)),
        }
    }
}

/// To the millisecond, in UTC: what is compared with other logs is not shown in somebody's own zone.
pub(super) fn moment(time: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    let time = time.to_offset(UtcOffset::UTC);
    time.format(format).unwrap_or_default()
}

/// Indented, unless it is no JSON any more.
fn pretty(json: &RawValue) -> String {
    if json.get() == "{}" {
        return String::new();
    }
    let value = serde_json::from_str::<serde_json::Value>(json.get());
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    visible(&text.unwrap_or_else(|_| json.get().to_owned()))
}

/// A path with a query; what is empty is left out.
pub(super) fn link(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    match &*query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// What is wrong, for people.
pub(super) fn words(problem: &Problem) -> String {
    let errors = problem.errors.iter();
    let errors: Vec<_> = errors
        .map(|error| match &*error.field {
            "q" => format!("The search: {}.", error.message),
            field => format!("{field} {}.", error.message),
        })
        .collect();
    match errors.is_empty() {
        true => [Some(problem.title.clone() + "."), problem.detail.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
        false => errors.join(" "),
    }
}
