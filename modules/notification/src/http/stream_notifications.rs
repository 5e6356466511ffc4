//! `GET /api/v1/notifications/stream`: server-sent events (HTML standard, §9.2).

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract::State as Shared,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use kernel::{Principal, Problem, Secret, principal::CurrentUser, routes::bearer};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::view::Words;
use crate::{
    State,
    live::{Full, Listener},
    store,
};

/// Read at a time; a client that is far behind gets it in portions, as fast as it reads.
const BATCH: i64 = 100;
/// A comment goes out this often, so that nothing on the way takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back, at least; the rest is chance, so that streams
/// that ended together do not come back together.
const RETRY: Duration = Duration::from_secs(2);

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        match full {
            Full::User => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-streams",
                "Too many live streams are open",
            )
            .detail("Close one of your other streams first.")
            .retry_after(10),
            Full::Process => Self::unavailable("No further live stream can be opened.", 10),
        }
    }
}

/// The caller's notifications as they come.
///
/// An event `notification` carries one notification as the list shows it; its id is the
/// notification's number. An event `unread_count` carries `{"unread_count": n}`, at the start and
/// when it changes. With `Last-Event-ID`, what has come since is sent first; without, the stream
/// starts with what comes from now on. The server ends the stream now and then: come back with the
/// last id.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/stream",
    operation_id = "stream_notifications",
    params(
        ("Last-Event-ID" = Option<i64>, Header, description = "The number of the last notification \
            that arrived.")
    ),
    responses(
        (status = 200, description = "A stream of events", content_type = "text/event-stream",
            body = String),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 429, description = "`too-many-streams`: the caller has too many open",
            body = Problem),
        (status = 503, description = "The server has too many open, or its database is busy",
            body = Problem),
    )
)]
#[tracing::instrument(name = "notification.stream", skip_all, fields(user.id = %user.id))]
pub(crate) async fn stream_notifications(
    Shared(state): Shared<State>,
    user: CurrentUser,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let listener = state.hub.join(user.id)?;
    let mut live = Live {
        until: Instant::now() + state.config.stream_max(),
        last: last_event_id(&headers),
        token: Secret::new(bearer(&headers).unwrap_or_default()),
        unread_count: None,
        queue: VecDeque::new(),
        more: false,
        state,
        user,
        listener,
    };
    // A database that cannot be read is told with a status, while there is one to give.
    live.read().await?;
    let jitter = Duration::from_millis(live.state.db.world().below(3_000).into());
    live.queue
        .push_front(Event::default().retry(RETRY + jitter));
    let buffering = (
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    let caching = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok((
        [buffering, caching],
        Sse::new(live.events()).keep_alive(keep_alive),
    ))
}

/// What is not a number from 0 counts as absent (the header is the client's to send).
fn last_event_id(headers: &HeaderMap) -> Option<i64> {
    headers
        .get("last-event-id")?
        .to_str()
        .ok()?
        .parse()
        .ok()
        .filter(|number| *number >= 0)
}

/// An open stream.
struct Live {
    state: State,
    user: CurrentUser,
    token: Secret,
    listener: Listener,
    /// Closed at the latest then: connections move on to new processes, and a stream that was
    /// forgotten goes.
    until: Instant,
    /// The last number sent; none until the first look tells where "now" is.
    last: Option<i64>,
    /// As last sent.
    unread_count: Option<i64>,
    queue: VecDeque<Event>,
    /// The last look found as many as it may take.
    more: bool,
}

impl Live {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut live| async move {
            loop {
                if let Some(event) = live.queue.pop_front() {
                    return Some((Ok(event), live));
                }
                if !live.more && !live.wait().await {
                    return None;
                }
                // The client comes back with the last id, and nothing is lost.
                if !live.may_go_on() || live.read().await.is_err() {
                    return None;
                }
            }
        })
    }

    /// Waits for a reason to look. False when it is time to end.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = self.listener.changed() => true,
            () = sleep(self.state.config.stream_reread()) => true,
            () = sleep_until(self.until) => false,
            () = self.state.shutdown.cancelled() => false,
        }
    }

    /// A stream lives no longer than the right to it: the token is verified again before each look,
    /// so that its expiry, a logout and a revocation end the stream within one interval.
    fn may_go_on(&self) -> bool {
        match self.state.verifier.verify(self.token.expose()) {
            Ok(Principal::User { id, .. }) => id == self.user.id,
            Ok(Principal::Service { .. }) | Err(_) => false,
        }
    }

    /// Queues what is new.
    async fn read(&mut self) -> Result<(), Problem> {
        let mut conn = self.state.db.pool().acquire().await?;
        let mut inbox =
            store::notifications::after(&mut conn, self.user.id, self.last, BATCH).await?;
        drop(conn);
        let items = std::mem::take(&mut inbox.items);
        self.more = i64::try_from(items.len()).is_ok_and(|count| count == BATCH);
        // A number that was never given would keep the stream waiting for it.
        let mut last = self
            .last
            .unwrap_or(inbox.last_number)
            .min(inbox.last_number);
        let words = Words::of(&inbox, &self.state.frame);
        for stored in items {
            let view = words.view(stored)?;
            last = view.number;
            let event = Event::default().event("notification").id(last.to_string());
            self.queue
                .push_back(event.json_data(&view).map_err(Problem::internal)?);
        }
        self.last = Some(last);
        if !self.more && self.unread_count != Some(inbox.unread_count) {
            self.unread_count = Some(inbox.unread_count);
            // With an id: a client that reconnects before its first notification misses none.
            let event = Event::default().event("unread_count").id(last.to_string());
            let data = json!({ "unread_count": inbox.unread_count });
            self.queue
                .push_back(event.json_data(data).map_err(Problem::internal)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_last_event_id() {
        for (value, id) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("-1", None),
            ("", None),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", value.parse().unwrap());
            assert_eq!(last_event_id(&headers), id, "{value}");
        }
        assert_eq!(last_event_id(&HeaderMap::new()), None);
    }
}
