//! `/admin/logs/trace/{id}`: what happened in one trace, in the order of time.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State as Given, response::Response};
use kernel::{Fragment, Language, Path, Problem, Query};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::view::{Entry, Record, link, moment};
use crate::{
    State,
    domain::{
        query::{Term, What},
        range::TimeRange,
        trace,
    },
    http::{list_audit, log_filter::Search, search_logs, within},
    store::{audit, record_search},
};

/// More lines of a trace than this are not read by people.
const MAX_RECORDS: i64 = 500;
const MAX_ENTRIES: i64 = 100;
/// Around the record that one comes from: the days before and after need not be looked through.
const AROUND: Duration = Duration::HOUR;

#[derive(Deserialize)]
pub(super) struct Params {
    /// A moment within it, in seconds since 1970.
    at: Option<i64>,
}

#[derive(Template)]
#[template(path = "pages/trace.html")]
struct Page<'a> {
    id: &'a str,
    started: Option<String>,
    services: BTreeMap<String, usize>,
    steps: Vec<Step>,
    /// There are more lines than are shown.
    cut: bool,
    everything: Option<String>,
}

struct Step {
    /// Milliseconds since the first.
    offset: String,
    at: OffsetDateTime,
    what: Shown,
}

enum Shown {
    Record(Record),
    Entry(Entry),
}

#[tracing::instrument(name = "logging.page.trace", skip_all)]
pub(super) async fn page(
    Given(state): Given<State>,
    Path(id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let trace_id = trace::parse_trace_id(&id).ok_or_else(Problem::not_found)?;
    let now = state.world.now();
    let at = params
        .at
        .and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let at = at.filter(|at| (1970..3000).contains(&at.year()));
    let range = match at {
        Some(at) => TimeRange {
            from: at - AROUND,
            to: at + AROUND,
        },
        None => TimeRange {
            from: now.saturating_sub(Duration::days(i64::from(state.retention_days) + 1)),
            to: now + Duration::DAY,
        },
    };
    let search = Search {
        filter: record_search::Filter {
            level: None,
            terms: vec![Term {
                negated: false,
                what: What::Trace(trace_id),
            }],
        },
        range,
    };
    let filter = audit::Filter {
        trace_id: Some(trace_id),
        ..audit::Filter::default()
    };
    let records = search_logs::newest(&state, &search, None, MAX_RECORDS);
    let records = within(state.search_timeout, records).await?;
    let entries = list_audit::find(&state, &filter, None, MAX_ENTRIES);
    let entries = within(state.search_timeout, entries).await?;

    let cut = i64::try_from(records.len()).is_ok_and(|count| count == MAX_RECORDS);
    // They came newest first; those of one moment stay in the order in which they were written.
    let records = records
        .into_iter()
        .rev()
        .map(|row| Shown::Record(row.into()));
    let entries = entries
        .into_iter()
        .rev()
        .map(|row| Shown::Entry(row.into()));
    let mut steps: Vec<_> = records.chain(entries).map(Step::from).collect();
    steps.sort_by_key(|step| step.at);
    let first = steps.first().map(|step| step.at);
    let mut services = BTreeMap::new();
    for step in &mut steps {
        let offset = first.map_or(Duration::ZERO, |first| step.at - first);
        step.offset = format!("+{:.1} ms", offset.as_seconds_f64() * 1_000.0);
        *services.entry(step.service().to_owned()).or_default() += 1;
    }
    let page = Page {
        id: &id,
        started: first.map(moment),
        services,
        steps,
        cut,
        everything: at.map(|_| link(&format!("/admin/logs/trace/{id}"), &[])),
    };
    Ok(Fragment::page("Trace", Language::En, &page))
}

impl From<Shown> for Step {
    fn from(what: Shown) -> Self {
        let at = match &what {
            Shown::Record(record) => record.at,
            Shown::Entry(entry) => entry.at,
        };
        Self {
            offset: String::new(),
            at,
            what,
        }
    }
}

impl Step {
    fn service(&self) -> &str {
        match &self.what {
            Shown::Record(record) => &record.service,
            Shown::Entry(entry) => &entry.publisher,
        }
    }
}
