//! The list, marking as read, and the mailbox's pages.

use contracts::profile::ProfileUpdated;
use kernel::UserId;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::support::{App, body, inside, registered};

/// Notifications as a later release may write them.
pub(crate) async fn notify(conn: &mut PgConnection, user_id: UserId, count: i32) {
    sqlx::query(
        "WITH c AS (
             INSERT INTO notification.counters AS c (user_id, last_number) VALUES ($1, $2)
             ON CONFLICT (user_id) DO UPDATE SET last_number = c.last_number + $2
             RETURNING last_number)
         INSERT INTO notification.notifications
             (id, user_id, number, kind, data, idempotency_key, event_id, created_at)
         SELECT gen_random_uuid(), $1, last_number - $2 + n, 'newer', '{}', gen_random_uuid(),
                gen_random_uuid(), now()
           FROM c, generate_series(1, $2) AS n",
    )
    .bind(user_id.0)
    .bind(count)
    .execute(conn)
    .await
    .expect("they are written");
}

#[tokio::test]
async fn the_list_is_paged_counted_and_in_the_language_of_the_moment() {
    let app = App::start().await;
    let user_id = app.register("de-AT").await;
    notify(&mut *app.conn().await, user_id, 4).await;

    let (status, page) = app
        .get("/api/v1/notifications?limit=3", Some(user_id))
        .await;
    assert_eq!(status, 200);
    assert_eq!(page["unread_count"], 5);
    let numbers = |page: &Value| -> Vec<i64> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["number"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(numbers(&page), [5, 4, 3]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = format!("/api/v1/notifications?limit=3&cursor={cursor}");
    let (_, page) = app.get(&next, Some(user_id)).await;
    assert_eq!(numbers(&page), [2, 1]);
    assert!(page.get("next_cursor").is_none());
    assert_eq!(page["items"][1]["kind"], "welcome");
    assert_eq!(page["items"][1]["title"], "Willkommen bei Banyan");
    assert_eq!(page["items"][1]["read_at"], Value::Null);

    app.publish(&ProfileUpdated {
        user_id,
        display_name: None,
        locale: "en".to_owned(),
        time_zone: "UTC".to_owned(),
        changed: vec!["locale".to_owned()],
        shown: None,
    })
    .await;
    app.deliver_events().await;
    let (_, page) = app.get(&next, Some(user_id)).await;
    assert_eq!(page["items"][1]["title"], "Welcome to Banyan");

    for bad in ["limit=0", "limit=201", "limit=x", "cursor=x"] {
        let (status, problem) = app
            .get(&format!("/api/v1/notifications?{bad}"), Some(user_id))
            .await;
        assert_eq!(
            (status, &problem["type"]),
            (422, &json!("/problems/validation-failed"))
        );
    }
    assert_eq!(app.get("/api/v1/notifications", None).await.0, 401);
}

#[tokio::test]
async fn reading_counts_once_and_only_ones_own() {
    let app = App::start().await;
    let (ada, bob) = (app.register("en").await, app.register("en").await);
    let (_, page) = app.get("/api/v1/notifications", Some(ada)).await;
    let read = format!(
        "/api/v1/notifications/{}/read",
        page["items"][0]["id"].as_str().unwrap()
    );

    assert_eq!(app.send("POST", &read, Some(bob)).await.status(), 404);
    assert_eq!(app.send("POST", &read, None).await.status(), 401);
    let (_, page) = app.get("/api/v1/notifications", Some(ada)).await;
    assert_eq!(page["unread_count"], 1);

    assert_eq!(app.send("POST", &read, Some(ada)).await.status(), 204);
    let (_, first) = app.get("/api/v1/notifications", Some(ada)).await;
    app.clock.advance(time::Duration::minutes(1));
    assert_eq!(app.send("POST", &read, Some(ada)).await.status(), 204);
    let (_, second) = app.get("/api/v1/notifications", Some(ada)).await;
    assert_eq!(first["unread_count"], 0);
    assert_eq!(first, second, "the second time changes nothing");

    for unknown in ["00000000-0000-0000-0000-000000000000", "x"] {
        let path = format!("/api/v1/notifications/{unknown}/read");
        let response = app.send("POST", &path, Some(ada)).await;
        assert_eq!(response.status(), 404);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}

#[tokio::test]
async fn one_half_of_the_read_model_can_be_fed_again_without_the_other() {
    let app = App::start().await;
    let user_id = app.register("de").await;
    let mut conn = app.conn().await;
    // As a replay of identity's subscription empties its own model.
    sqlx::query("DELETE FROM notification.recipient_accounts")
        .execute(&mut *conn)
        .await
        .unwrap();
    let (_, page) = app.get("/api/v1/notifications", Some(user_id)).await;
    assert_eq!(page["items"][0]["title"], "Willkommen bei Banyan");
    sqlx::query("DELETE FROM notification.recipient_profiles")
        .execute(&mut *conn)
        .await
        .unwrap();
    app.publish(&registered(user_id, "en")).await;
    app.deliver_events().await;
    let (_, page) = app.get("/api/v1/notifications", Some(user_id)).await;
    assert_eq!(page["items"][0]["title"], "Welcome to Banyan");
}

#[tokio::test]
async fn the_mailbox_shows_mails_harmlessly() {
    let app = App::start().await;
    let page = app.send("GET", "/dev/mailbox", None).await;
    assert_eq!(page.status(), 200);
    assert!(inside(body(page).await).contains("No mail yet"));

    app.publish(&app.verification("ada+<script>@example.org", "042917"))
        .await;
    app.publish(&app.verification("ada@example.org", "314159"))
        .await;
    app.deliver_events().await;
    app.send_mails().await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1, "the other address is none");
    for (to, found) in [("Ada@example.org", 1), ("grace@example.org", 0)] {
        let path = format!("/dev/mailbox/messages?to={to}");
        let (status, mails) = app.get(&path, None).await;
        assert_eq!((status, mails.as_array().unwrap().len()), (200, found));
    }
    let (status, _) = app.get("/dev/mailbox/messages?from=ada", None).await;
    assert_eq!(status, 422);
    let id = mails[0]["id"].as_str().unwrap();

    let page = app
        .send("GET", &format!("/dev/mailbox?message={id}"), None)
        .await;
    let html = inside(body(page).await);
    assert!(html.contains("314159") && html.contains("sandbox=") && !html.contains("<script"));

    let mail = app
        .send("GET", &format!("/dev/mailbox/messages/{id}/html"), None)
        .await;
    assert_eq!(mail.status(), 200);
    let policy = mail.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("sandbox ") && !policy.contains("allow-scripts"));
    assert!(!policy.contains("allow-same-origin"));

    let unknown = "/dev/mailbox/messages/00000000-0000-0000-0000-000000000000/html";
    assert_eq!(app.send("GET", unknown, None).await.status(), 404);
    assert_eq!(
        app.send("GET", "/dev/mailbox?message=x", None)
            .await
            .status(),
        422
    );
}

#[tokio::test]
async fn there_is_no_mailbox_when_mail_really_leaves() {
    let app = App::start_with(
        "smtp_host = \"127.0.0.1\"\nsmtp_tls = \"none\"\nfrom_address = \"a@banyan.test\"",
    )
    .await;
    for path in ["/dev/mailbox", "/dev/mailbox/messages"] {
        assert_eq!(app.send("GET", path, None).await.status(), 404, "{path}");
    }
}
