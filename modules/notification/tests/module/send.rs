//! What services have people told.

use kernel::UserId;
use serde_json::{Value, json};
use time::Duration;

use crate::support::{App, count};

const PATH: &str = "/api/v1/notifications/send";
const SCOPE: &str = "notifications:send";

fn request(recipients: &[UserId]) -> Value {
    json!({
        "recipients": recipients,
        "category": "product",
        "content": {
            "title": "Your order <b>1</b> & more",
            "body": "It is on its way.\n\n<script>alert(1)</script>",
            "action_url": "https://shop.example/orders/1?a=1&b=2",
        },
    })
}

impl App {
    async fn ask(&self, headers: &[(&str, &str)], request: &Value) -> (u16, Value) {
        let token = self.service_token("shop", SCOPE);
        self.call("POST", PATH, &token, headers, Some(request))
            .await
    }

    async fn switch_off(&self, user_id: UserId, edit: &Value) {
        let path = "/api/v1/notifications/preferences";
        let token = self.token(user_id);
        let any = [("if-match", "*")];
        let (status, _) = self.call("PATCH", path, &token, &any, Some(edit)).await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn a_service_has_people_told_by_mail_and_in_the_app() {
    let app = App::start().await;
    let (ada, bob) = (app.register("en").await, app.register("de").await);
    app.send_mails().await;
    let (status, answer) = app.ask(&[], &request(&[ada, bob])).await;
    assert_eq!(status, 202);
    let deliveries = answer["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 4);
    assert!(deliveries.iter().all(|delivery| delivery["id"].is_string()));
    app.send_mails().await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 4, "with the welcomes");
    for mail in &mails[..2] {
        assert_eq!(mail["subject"], "Your order <b>1</b> & more");
        let (text, html) = (
            mail["text"].as_str().unwrap(),
            mail["html"].as_str().unwrap(),
        );
        assert!(
            text.contains("\n    https://shop.example/orders/1?a=1&b=2\n"),
            "{text}"
        );
        assert!(text.contains("unsubscribe?token=product."), "{text}");
        assert!(
            !html.contains("<script") && !html.contains("<b>1"),
            "{html}"
        );
        assert!(
            html.contains("href=\"https://shop.example/orders/1?a=1&#38;b=2\""),
            "{html}"
        );
    }
    let (_, inbox) = app.get("/api/v1/notifications", Some(ada)).await;
    let shown = &inbox["items"][0];
    assert_eq!(shown["kind"], "from_service");
    assert_eq!(shown["title"], "Your order <b>1</b> & more");
    assert_eq!(shown["action_url"], "https://shop.example/orders/1?a=1&b=2");

    let path = format!("{PATH}/{}", answer["id"].as_str().unwrap());
    let own = app.service_token("shop", SCOPE);
    let (status, now) = app.call("GET", &path, &own, &[], None).await;
    assert_eq!(status, 200);
    let parts = now["deliveries"].as_array().unwrap();
    assert_eq!(parts.len(), 4);
    assert!(parts.iter().all(|part| part["status"] == "sent"), "{now}");
    let other = app.service_token("other", SCOPE);
    assert_eq!(app.call("GET", &path, &other, &[], None).await.0, 404);

    let published = app.published().await;
    let asked = published
        .iter()
        .find(|(name, _)| name == "notification.send.requested.v1")
        .expect("the audit trail is told");
    assert_eq!(asked.1["recipients"], 2);
    assert!(!asked.1.to_string().contains("order"));
    let mut conn = app.conn().await;
    // The event is the cause of what follows from it.
    let caused = "SELECT count(*) FROM notification.deliveries AS d
                    JOIN notification.log AS l ON l.id = d.event_id
                   WHERE l.type = 'notification.send.requested.v1'";
    assert_eq!(count(&mut conn, caused).await, 2);
}

#[tokio::test]
async fn only_services_with_the_scope_may() {
    let app = App::start().await;
    let ada = app.register("en").await;
    let body = request(&[ada]);
    for (token, status) in [
        (app.service_token("shop", SCOPE), 202),
        (app.service_token("shop", ""), 403),
        (app.service_token("shop", "notifications:read"), 403),
        (app.token(ada), 403),
        (app.token_with(ada, "", &["admin"]), 403),
        // Not even if somebody were to be given the scope.
        (app.token_with(ada, SCOPE, &["admin"]), 403),
        ("not.a.token".to_owned(), 401),
    ] {
        let (answer, _) = app.call("POST", PATH, &token, &[], Some(&body)).await;
        assert_eq!(answer, status, "{token}");
        let path = format!("{PATH}/{}", ada.0);
        let (answer, _) = app.call("GET", &path, &token, &[], None).await;
        assert_eq!(answer, if status == 202 { 404 } else { status });
    }
}

#[tokio::test]
async fn what_people_do_not_want_is_not_told() {
    let app = App::start().await;
    let (ada, bob) = (app.register("en").await, app.register("en").await);
    app.switch_off(ada, &json!({ "product": { "email": false } }))
        .await;
    app.switch_off(bob, &json!({ "product": { "in_app": false } }))
        .await;
    let (_, answer) = app.ask(&[], &request(&[ada, bob])).await;
    let status = |user: UserId, channel: &str| {
        let deliveries = answer["deliveries"].as_array().unwrap();
        let part = deliveries
            .iter()
            .find(|part| part["recipient"] == json!(user) && part["channel"] == channel);
        part.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(ada, "email"), "muted");
    assert_eq!(status(ada, "in_app"), "sent");
    assert_eq!(status(bob, "email"), "queued");
    assert_eq!(status(bob, "in_app"), "muted");
    app.send_mails().await;
    let mut conn = app.conn().await;
    let mails = "SELECT count(*) FROM notification.mailbox WHERE subject LIKE 'Your order%'";
    assert_eq!(count(&mut conn, mails).await, 1);
}

#[tokio::test]
async fn all_of_a_request_is_taken_or_nothing() {
    let app = App::start().await;
    let ada = app.register("en").await;
    let stranger = UserId(app.world.uuid());
    let with = |path: &str, value: Value| {
        let mut body = request(&[ada]);
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let many: Vec<_> = (0..101).map(|_| UserId(app.world.uuid())).collect();
    for (body, field) in [
        (request(&[ada, stranger]), "/recipients/1"),
        (request(&[ada, ada]), "/recipients/1"),
        (request(&[]), "/recipients"),
        (request(&many), "/recipients"),
        (with("/category", json!("security")), "/category"),
        (
            with("/content/title", json!("a\r\nBcc: eve@example.org")),
            "/content/title",
        ),
        (with("/content/title", json!(" ")), "/content/title"),
        (
            with("/content/title", json!("x".repeat(121))),
            "/content/title",
        ),
        (
            with("/content/body", json!("x".repeat(4_001))),
            "/content/body",
        ),
        (with("/content/body", json!("a\u{202E}b")), "/content/body"),
        (
            with("/content/action_url", json!("javascript:alert(1)")),
            "/content/action_url",
        ),
        (
            with("/content/action_url", json!("//evil.example")),
            "/content/action_url",
        ),
    ] {
        let (status, problem) = app.ask(&[], &body).await;
        assert_eq!(status, 422, "{body}");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let mut both = request(&[ada]);
    both["channels"] = json!(["email", "email"]);
    assert_eq!(app.ask(&[], &both).await.0, 422);
    both["channels"] = json!(["sms"]);
    assert_eq!(app.ask(&[], &both).await.0, 422);
    let mut conn = app.conn().await;
    for table in [
        "SELECT count(*) FROM notification.sends",
        "SELECT count(*) FROM notification.deliveries WHERE send_id IS NOT NULL",
        "SELECT count(*) FROM notification.notifications WHERE send_id IS NOT NULL",
        "SELECT count(*) FROM notification.log WHERE type = 'notification.send.requested.v1'",
    ] {
        assert_eq!(count(&mut conn, table).await, 0, "{table}");
    }
    // As long as it may be, in characters that take the most room.
    let mut longest = request(&[ada]);
    longest["content"]["title"] = json!("𝕏".repeat(120));
    longest["content"]["body"] = json!("𝕏".repeat(4_000));
    assert_eq!(app.ask(&[], &longest).await.0, 202);
}

#[tokio::test]
async fn a_repetition_changes_nothing_and_is_answered_alike() {
    let app = App::start().await;
    let ada = app.register("en").await;
    let key = [("idempotency-key", "\"8e03978e-40d5\"")];
    let first = app.ask(&key, &request(&[ada])).await;
    assert_eq!(first.0, 202);
    assert_eq!(app.ask(&key, &request(&[ada])).await, first);
    assert_eq!(
        app.ask(&[("idempotency-key", "8e03978e-40d5")], &request(&[ada]))
            .await,
        first
    );
    let mut conn = app.conn().await;
    let sends = "SELECT count(*) FROM notification.sends";
    assert_eq!(count(&mut conn, sends).await, 1);

    let mut other = request(&[ada]);
    other["content"]["title"] = json!("Something else");
    let (status, problem) = app.ask(&key, &other).await;
    assert_eq!(
        (status, &problem["type"]),
        (422, &json!("/problems/idempotency-key-reused"))
    );
    for bad in ["", "a b", &"k".repeat(201)] {
        let (status, _) = app.ask(&[("idempotency-key", bad)], &other).await;
        assert_eq!(status, 400, "{bad}");
    }
    assert_eq!(count(&mut conn, sends).await, 1);

    // Another service's key of the same name is another key.
    let token = app.service_token("other", SCOPE);
    let (status, answer) = app
        .call("POST", PATH, &token, &key, Some(&request(&[ada])))
        .await;
    assert_eq!(status, 202);
    assert_ne!(answer["id"], first.1["id"]);

    // After a day the key is free.
    app.clock.advance(Duration::hours(25));
    let (status, later) = app.ask(&key, &other).await;
    assert_eq!(status, 202);
    assert_ne!(later["id"], first.1["id"]);
    let kept = "SELECT count(*) FROM notification.idempotency_keys";
    assert_eq!(count(&mut conn, kept).await, 2);
    app.run_job("purge_idempotency_keys").await;
    assert_eq!(count(&mut conn, kept).await, 1);
    app.clock.advance(Duration::days(31));
    app.run_job("purge_sends").await;
    assert_eq!(count(&mut conn, sends).await, 0);
}

#[tokio::test]
async fn a_request_that_was_refused_keeps_no_answer() {
    let app = App::start().await;
    let ada = UserId(app.world.uuid());
    let key = [("idempotency-key", "k1")];
    assert_eq!(app.ask(&key, &request(&[ada])).await.0, 422);
    app.publish(&crate::support::registered(ada, "en")).await;
    app.deliver_events().await;
    assert_eq!(app.ask(&key, &request(&[ada])).await.0, 202);
}

#[tokio::test]
async fn of_many_at_once_one_takes_effect() {
    let app = App::start().await;
    let ada = app.register("en").await;
    let key = [("idempotency-key", "k1")];
    let body = request(&[ada]);
    // More than the pool has connections.
    let all = futures::future::join_all((0..12).map(|_| app.ask(&key, &body))).await;
    assert!(all.iter().all(|answer| *answer == all[0]), "{all:?}");
    assert_eq!(all[0].0, 202);
    let mut conn = app.conn().await;
    let sends = "SELECT count(*) FROM notification.sends";
    assert_eq!(count(&mut conn, sends).await, 1);
}
