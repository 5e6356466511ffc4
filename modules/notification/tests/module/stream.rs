//! The live stream.

use std::time::Duration;

use axum::{body::Body, http::Request};
use futures::StreamExt;
use kernel::{Hint, UserId};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::{
    notifications::notify,
    support::{App, body},
};

/// A stream's events as a browser reads them.
struct Events {
    body: axum::body::BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(app: &App, token: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get("/api/v1/notifications/stream")
            .header("authorization", format!("Bearer {token}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = app.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event, or nothing when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut event = Event {
                    name: String::new(),
                    id: String::new(),
                    data: Value::Null,
                };
                for (field, value) in block.lines().filter_map(|line| line.split_once(": ")) {
                    match field {
                        "event" => event.name = value.to_owned(),
                        "id" => event.id = value.to_owned(),
                        "data" => event.data = serde_json::from_str(value).unwrap(),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                if event.name.is_empty() {
                    continue;
                }
                return Some(event);
            }
            let chunk = timeout(Duration::from_secs(10), self.body.next())
                .await
                .expect("something comes")?;
            self.text
                .push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn expect(&mut self, name: &str, id: &str) -> Value {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!((event.name.as_str(), event.id.as_str()), (name, id));
        event.data
    }
}

fn hint(app: &App, user_id: UserId) {
    let topic = "notification.inbox".to_owned();
    app.db.bus().hint(Hint {
        topic,
        key: user_id.to_string(),
    });
}

#[tokio::test]
async fn news_comes_live_and_nothing_is_missed_on_the_way_back() {
    let app = App::start_with("stream_reread_seconds = 60").await;
    let user_id = app.register("en").await;
    let token = app.token(user_id);
    let mut events = Events::open(&app, &token, None).await;
    assert_eq!(
        events.expect("unread_count", "1").await,
        json!({ "unread_count": 1 })
    );

    let mut conn = app.conn().await;
    notify(&mut conn, user_id, 2).await;
    hint(&app, user_id);
    assert_eq!(events.expect("notification", "2").await["number"], 2);
    events.expect("notification", "3").await;
    assert_eq!(
        events.expect("unread_count", "3").await,
        json!({ "unread_count": 3 })
    );

    // Read on another screen.
    let (_, page) = app.get("/api/v1/notifications", Some(user_id)).await;
    let id = page["items"][0]["id"].as_str().unwrap();
    app.send(
        "POST",
        &format!("/api/v1/notifications/{id}/read"),
        Some(user_id),
    )
    .await;
    assert_eq!(
        events.expect("unread_count", "3").await,
        json!({ "unread_count": 2 })
    );

    // Away while more came than one look takes.
    drop(events);
    notify(&mut conn, user_id, 250).await;
    let mut events = Events::open(&app, &token, Some("3")).await;
    for number in 4..=253 {
        events.expect("notification", &number.to_string()).await;
    }
    assert_eq!(
        events.expect("unread_count", "253").await,
        json!({ "unread_count": 252 })
    );

    // A number that was never given, as after a restore of the database.
    let mut events = Events::open(&app, &token, Some("9000")).await;
    events.expect("unread_count", "253").await;
    notify(&mut conn, user_id, 1).await;
    hint(&app, user_id);
    events.expect("notification", "254").await;
}

#[tokio::test]
async fn a_lost_hint_costs_an_interval() {
    let app = App::start_with("stream_reread_seconds = 1").await;
    let user_id = app.register("en").await;
    let mut events = Events::open(&app, &app.token(user_id), Some("1")).await;
    events.expect("unread_count", "1").await;
    notify(&mut *app.conn().await, user_id, 1).await;
    events.expect("notification", "2").await;
}

#[tokio::test]
async fn a_welcome_reaches_an_open_stream() {
    let app = App::start_with("stream_reread_seconds = 60").await;
    let user_id = UserId(app.world.uuid());
    let mut events = Events::open(&app, &app.token(user_id), None).await;
    assert_eq!(
        events.expect("unread_count", "0").await,
        json!({ "unread_count": 0 })
    );
    app.publish(&crate::support::registered(user_id, "de"))
        .await;
    app.publish(&crate::support::profiled(user_id, "de")).await;
    app.deliver_events().await;
    let welcome = events.expect("notification", "1").await;
    assert_eq!(welcome["title"], "Willkommen bei Banyan");
}

#[tokio::test]
async fn a_stream_lives_no_longer_than_its_token() {
    let app = App::start_with("stream_reread_seconds = 1").await;
    let user_id = app.register("en").await;
    let mut events = Events::open(&app, &app.token(user_id), None).await;
    events.expect("unread_count", "1").await;
    app.clock.advance(time::Duration::minutes(6));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn streams_end_with_the_module_and_when_their_time_is_over() {
    let app = App::start_with("stream_max_seconds = 1\nstream_reread_seconds = 60").await;
    let user_id = app.register("en").await;
    let mut events = Events::open(&app, &app.token(user_id), None).await;
    events.expect("unread_count", "1").await;
    assert!(events.next().await.is_none());

    let app = App::start_with("stream_reread_seconds = 60").await;
    let user_id = app.register("en").await;
    let mut events = Events::open(&app, &app.token(user_id), None).await;
    events.expect("unread_count", "1").await;
    app.shutdown.cancel();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn streams_are_bounded() {
    let app = App::start_with("streams_per_user = 2\nstreams_total = 3").await;
    let (ada, bob) = (UserId(app.world.uuid()), UserId(app.world.uuid()));
    let first = Events::open(&app, &app.token(ada), None).await;
    let _second = Events::open(&app, &app.token(ada), None).await;
    let refused = app
        .send("GET", "/api/v1/notifications/stream", Some(ada))
        .await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = serde_json::from_slice(&body(refused).await).unwrap();
    assert_eq!(problem["type"], "/problems/too-many-streams");
    let _third = Events::open(&app, &app.token(bob), None).await;
    assert_eq!(
        app.send("GET", "/api/v1/notifications/stream", Some(bob))
            .await
            .status(),
        503
    );
    drop(first);
    Events::open(&app, &app.token(ada), None).await;
    assert_eq!(
        app.send("GET", "/api/v1/notifications/stream", None)
            .await
            .status(),
        401
    );
}
