//! `/admin/logs`: what the processes and services write, searched.

use askama::Template;
use axum::{extract::State as Given, http::StatusCode, response::Response};
use kernel::{Fragment, Language, Problem, Query, page::PageParams, page::cursor_after};
use serde::Deserialize;
use time::Duration;

use super::view::{Record, link, moment, words};
use crate::{
    State,
    domain::{level::Level, query},
    http::{
        SearchError,
        filters::Checks,
        log_filter::LogFilterParams,
        log_histogram::{self, LogBucket, LogHistogram},
        search_logs::{self, Cursor, place_of},
        within,
    },
    store::record_search::Place,
};

const PATH: &str = "/admin/logs";
const ON_A_PAGE: i64 = 50;
/// Nobody waits longer for a picture.
const CHART_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How far back, and what people call it.
const RANGES: [(&str, &str, Duration); 6] = [
    ("15m", "Last 15 minutes", Duration::minutes(15)),
    ("1h", "Last hour", Duration::HOUR),
    ("6h", "Last 6 hours", Duration::hours(6)),
    ("24h", "Last 24 hours", Duration::DAY),
    ("7d", "Last 7 days", Duration::WEEK),
    ("all", "All that is kept", Duration::days(3_660)),
];

#[derive(Default, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    q: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    range: String,
    /// Where the page of newer ones ended.
    before: Option<String>,
    /// Where the page of older ones began.
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/logs.html")]
struct Page<'a> {
    q: &'a str,
    max_chars: usize,
    levels: Vec<Choice>,
    ranges: Vec<Choice>,
    alert: Option<String>,
    chart: Option<Chart>,
    records: Vec<Record>,
    newest: String,
    newer: Option<String>,
    older: Option<String>,
    tail: String,
}

struct Choice {
    value: &'static str,
    name: &'static str,
    chosen: bool,
}

#[tracing::instrument(name = "logging.page.logs", skip_all)]
pub(super) async fn page(
    Given(state): Given<State>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let (range, length) = RANGES
        .iter()
        .find(|(value, _, _)| *value == params.range)
        .map_or(("15m", Duration::minutes(15)), |(value, _, length)| {
            (*value, *length)
        });
    let level = Level::parse(&params.level);
    let found = find(&state, &params, level, length).await;
    let level = level.map_or("", Level::name);
    let here = [("q", &*params.q), ("level", level), ("range", range)];
    let elsewhere = |name, place: &Cursor| {
        let cursor = cursor_after(place);
        let [q, level, range] = here;
        link(PATH, &[q, level, range, (name, &cursor)])
    };
    let mut page = Page {
        q: &params.q,
        max_chars: query::MAX_CHARS,
        levels: levels(level),
        ranges: ranges(range),
        alert: None,
        chart: None,
        records: Vec::new(),
        newest: link(PATH, &here),
        newer: None,
        older: None,
        tail: link("/api/v1/logs/tail", &here[..2]),
    };
    let status = match found {
        Ok(found) => {
            page.chart = found.histogram.map(|histogram| Chart::of(&histogram));
            let end = |record: Option<&Record>| record.map(|record| record.place);
            let first = end(found.records.first());
            let last = end(found.records.last());
            page.newer = first
                .filter(|_| found.newer)
                .map(|p| elsewhere("after", &p));
            page.older = last
                .filter(|_| found.older)
                .map(|p| elsewhere("before", &p));
            page.records = found.records;
            StatusCode::OK
        }
        Err(problem) if problem.status < 500 || problem.status == 504 => {
            page.alert = Some(words(&problem));
            problem.status_code()
        }
        Err(problem) => return Err(problem),
    };
    Ok(Fragment::with_status(status, "Logs", Language::En, &page))
}

struct Found {
    records: Vec<Record>,
    newer: bool,
    older: bool,
    /// None if to count takes too long.
    histogram: Option<LogHistogram>,
}

async fn find(
    state: &State,
    params: &Params,
    level: Option<Level>,
    length: Duration,
) -> Result<Found, Problem> {
    let now = state.world.now();
    let search = LogFilterParams::of_page(&params.q, level, length, now);
    let search = search.read(now, state.retention_days, Checks::default())?;
    let place = |cursor: &Option<String>| -> Result<Option<Place>, Problem> {
        let cursor = PageParams {
            cursor: cursor.clone(),
            limit: None,
        };
        Ok(cursor.cursor::<Cursor>()?.and_then(place_of))
    };
    let (before, after) = (place(&params.before)?, place(&params.after)?);
    let timeout = state.search_timeout;
    let limit = ON_A_PAGE + 1;
    let mut rows = match after {
        Some(after) => within(timeout, search_logs::newer(state, &search, after, limit)).await?,
        None => within(timeout, search_logs::newest(state, &search, before, limit)).await?,
    };
    let shown = usize::try_from(ON_A_PAGE).unwrap_or_default();
    let more = rows.len() > shown;
    rows.truncate(shown);
    let (newer, older) = match after {
        Some(_) => {
            // They came oldest first.
            rows.reverse();
            (more, true)
        }
        None => (before.is_some(), more),
    };
    let histogram = match within(CHART_PATIENCE, log_histogram::count(state, &search)).await {
        Ok(histogram) => Some(histogram),
        Err(SearchError::TimedOut) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Found {
        records: rows.into_iter().map(Record::from).collect(),
        newer,
        older,
        histogram,
    })
}

fn levels(chosen: &str) -> Vec<Choice> {
    let choice = |(value, name)| Choice {
        value,
        name,
        chosen: value == chosen,
    };
    [
        ("", "All levels"),
        ("debug", "Debug and above"),
        ("info", "Info and above"),
        ("warn", "Warnings and errors"),
        ("error", "Errors"),
    ]
    .map(choice)
    .into()
}

fn ranges(chosen: &str) -> Vec<Choice> {
    let choice = |(value, name, _)| Choice {
        value,
        name,
        chosen: value == chosen,
    };
    RANGES.map(choice).into()
}

/// The histogram, drawn: a bar for each bucket, a piece of it for each level.
struct Chart {
    bars: Vec<Bar>,
    from: String,
    to: String,
    /// In words, for those who do not see it.
    words: String,
    approximate: bool,
}

struct Bar {
    x: usize,
    title: String,
    pieces: Vec<Piece>,
}

struct Piece {
    level: &'static str,
    y: i64,
    height: i64,
}

const HEIGHT: i64 = 80;

impl Chart {
    fn of(histogram: &LogHistogram) -> Self {
        let buckets = &histogram.buckets;
        let most = buckets
            .iter()
            .map(LogBucket::total)
            .max()
            .unwrap_or(0)
            .max(1);
        let bar = |(x, bucket): (usize, &LogBucket)| {
            let mut bottom = HEIGHT;
            let mut pieces = Vec::new();
            for level in Level::ALL {
                let records = bucket.of(level);
                if records > 0 {
                    // Never invisible: one error among a million is what one looks for.
                    let height = (records.saturating_mul(HEIGHT) / most)
                        .clamp(1, HEIGHT)
                        .min(bottom);
                    bottom -= height;
                    pieces.push(Piece {
                        level: level.name(),
                        y: bottom,
                        height,
                    });
                }
            }
            Bar {
                x: x * 10,
                title: format!(
                    "{}: {}",
                    moment(bucket.start),
                    counts(|level| bucket.of(level))
                ),
                pieces,
            }
        };
        let edge = |bucket: Option<&LogBucket>| bucket.map(|b| moment(b.start)).unwrap_or_default();
        let sum = |level| buckets.iter().map(|bucket| bucket.of(level)).sum();
        Self {
            bars: buckets.iter().enumerate().map(bar).collect(),
            from: edge(buckets.first()),
            to: edge(buckets.last()),
            words: counts(sum),
            approximate: histogram.approximate,
        }
    }

    fn width(&self) -> usize {
        self.bars.len() * 10
    }
}

/// `3 error, 7 info`.
fn counts(of: impl Fn(Level) -> i64) -> String {
    let counts: Vec<_> = Level::ALL
        .into_iter()
        .filter(|level| of(*level) > 0)
        .map(|level| format!("{} {}", of(level), level.name()))
        .collect();
    match counts.is_empty() {
        true => "no records".to_owned(),
        false => counts.join(", "),
    }
}
