//! `GET /api/v1/logs/tail`: log records as they are stored (server-sent events).

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract::State as Given,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use kernel::{Hint, Problem, Query, Secret, routes::bearer};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast},
    time::{Instant, sleep, sleep_until},
};

use super::{
    SearchError,
    filters::Checks,
    log_filter::{LogFilterParams, Search},
    search_logs::LogEntry,
    within,
};
use crate::{
    State,
    store::{
        record_search,
        search::{self, Way},
    },
    tail::Stored,
};

/// Records of one look, at most: nobody reads faster.
const MAX_RECORDS: i64 = 200;
/// Batches of one look, at most; of more, the newest.
const MAX_BATCHES: usize = 64;
/// Between two looks.
const REST: Duration = Duration::from_millis(500);
/// A comment goes out this often, so that nothing on the way takes the stream for dead. The right to the
/// stream is looked at as often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream that was forgotten goes, and connections move on to new processes.
const MAX_LIFE: Duration = Duration::from_secs(900);
/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(3);

/// Log records as they are stored.
///
/// Takes the filters of the search, and passes over the times in them. An event `record` carries
/// one record as the search shows it. An event `dropped` carries `{"dropped": n}`: so many records, of
/// which some may have matched, came faster than they could be sent. What is stored while nobody listens
/// is not sent later: the search finds it.
#[utoipa::path(
    get,
    path = "/api/v1/logs/tail",
    params(LogFilterParams),
    responses(
        (status = 200, description = "A stream of events", content_type = "text/event-stream",
            body = String),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "Not an administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 429, description = "`too-many-streams`: the process has too many open",
            body = Problem),
    )
)]
#[tracing::instrument(name = "logging.tail_logs", skip_all)]
pub(crate) async fn tail_logs(
    Given(state): Given<State>,
    Query(params): Query<LogFilterParams>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let search = params.read(state.world.now(), state.retention_days, Checks::default())?;
    let place = state.tails.join().ok_or_else(|| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            "Too many live streams are open",
        )
        .detail("Close another one first.")
        .retry_after(10)
    })?;
    let tail = Tail {
        hints: state.db.bus().hints(),
        token: Secret::new(bearer(&headers).unwrap_or_default()),
        until: Instant::now() + MAX_LIFE,
        queue: VecDeque::from([Event::default().retry(RETRY).event("ready").data("{}")]),
        state,
        search,
        _place: place,
    };
    let buffering = (
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    let caching = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok((
        [buffering, caching],
        Sse::new(tail.events()).keep_alive(keep_alive),
    ))
}

struct Tail {
    state: State,
    search: Search,
    token: Secret,
    hints: broadcast::Receiver<Hint>,
    until: Instant,
    queue: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

/// What there is to look at.
#[derive(Default)]
struct News {
    batches: VecDeque<Stored>,
    dropped: u64,
}

impl News {
    fn add(&mut self, hint: &Hint) {
        self.batches.extend(Stored::of(hint));
        if self.batches.len() > MAX_BATCHES {
            let oldest = self.batches.pop_front();
            self.dropped += oldest.map_or(0, |batch| batch.records);
        }
    }
}

impl Tail {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut tail| async move {
            loop {
                if let Some(event) = tail.queue.pop_front() {
                    return Some((Ok(event), tail));
                }
                let news = tail.news().await?;
                if !tail.may_go_on() {
                    return None;
                }
                tail.read(news).await.ok()?;
            }
        })
    }

    /// Waits for something to look at, and a little for more. None when it is time to end.
    async fn news(&mut self) -> Option<News> {
        let mut news = News::default();
        let shutdown = self.state.shutdown.clone();
        let mut rest = std::pin::pin!(sleep(KEEP_ALIVE));
        loop {
            let waiting = news.batches.is_empty() && news.dropped == 0;
            let hint = tokio::select! {
                hint = self.hints.recv() => hint,
                () = &mut rest => return Some(news),
                () = sleep_until(self.until) => return None,
                () = shutdown.cancelled() => return None,
            };
            match hint {
                Ok(hint) => news.add(&hint),
                // Hints, that is: how many records they told of is not known.
                Err(broadcast::error::RecvError::Lagged(missed)) => news.dropped += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
            if waiting && !(news.batches.is_empty() && news.dropped == 0) {
                rest.as_mut().reset(Instant::now() + REST);
            }
        }
    }

    /// A stream lives no longer than the right to it: the token is verified again before each look.
    fn may_go_on(&self) -> bool {
        let principal = self.state.verifier.verify(self.token.expose());
        principal.is_ok_and(|principal| principal.has_role("admin"))
    }

    async fn read(&mut self, mut news: News) -> Result<(), SearchError> {
        if !news.batches.is_empty() {
            let batches = news.batches.make_contiguous();
            let found = within(
                self.state.search_timeout,
                find(&self.state, &self.search, batches),
            );
            match found.await {
                Ok((rows, left_out)) => {
                    news.dropped += left_out;
                    for row in rows {
                        let event = Event::default().event("record").id(row.id.to_string());
                        let entry = event.json_data(LogEntry::from(row));
                        self.queue.push_back(entry.expect("an entry is plain data"));
                    }
                }
                // The filter cannot keep up.
                Err(SearchError::TimedOut) => {
                    news.dropped += news.batches.iter().map(|batch| batch.records).sum::<u64>();
                }
                Err(error) => return Err(error),
            }
        }
        if news.dropped > 0 {
            let event = Event::default().event("dropped");
            let data = json!({ "dropped": news.dropped });
            self.queue
                .push_back(event.json_data(data).expect("plain data"));
        }
        Ok(())
    }
}

/// The newest of what matches in some batches, oldest first, and how many more there are.
async fn find(
    state: &State,
    search: &Search,
    batches: &[Stored],
) -> Result<(Vec<record_search::Row>, u64), SearchError> {
    let mut tx = state.db.begin().await?;
    search::prepare(&mut tx, state.search_timeout, Way::GoBack).await?;
    let found = record_search::of_batches(&mut tx, &search.filter, batches, MAX_RECORDS).await?;
    tx.rollback().await?;
    Ok(found)
}
