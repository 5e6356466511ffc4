//! Mails and in-app notifications.

use reqwest::Method;
use serde_json::json;

use crate::support::TestApp;

const LIST: &str = "/api/v1/notifications";

#[tokio::test]
async fn notifications_are_read_by_their_owner_alone() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let bob = app.sign_up("bob@example.com").await;
    let inbox = app.get(LIST, &ada.access_token).await.expect(200).json();
    assert_eq!(inbox["unread_count"], 1);
    let id = inbox["items"][0]["id"].as_str().unwrap();
    let read = async |token: &str| {
        app.send(
            Method::POST,
            &format!("{LIST}/{id}/read"),
            Some(token),
            None,
            &[],
        )
        .await
    };
    read(&bob.access_token).await.problem(404, "not-found");
    read(&ada.access_token).await.expect(204);
    read(&ada.access_token).await.expect(204);
    let inbox = app.get(LIST, &ada.access_token).await.expect(200).json();
    assert_eq!(inbox["unread_count"], 0);
    let inbox = app.get(LIST, &bob.access_token).await.expect(200).json();
    assert_eq!(inbox["unread_count"], 1);
}

#[tokio::test]
async fn the_stream_tells_what_was_missed_and_what_comes() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let response = app
        .http
        .get(format!("{}{LIST}/stream", app.url))
        .bearer_auth(&ada.access_token)
        .header("last-event-id", "0")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut response = response;
    let mut text = String::new();
    while !text.contains("event: notification") && !text.contains("event:notification") {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(5), response.chunk());
        let chunk = chunk
            .await
            .expect("the stream tells in time")
            .unwrap()
            .expect("more to come");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(text.contains("id: 1") || text.contains("id:1"), "{text}");
}

#[tokio::test]
async fn mails_speak_the_persons_language_and_hide_what_was_typed() {
    let app = TestApp::start().await;
    let body = json!({
        "email": "heidi@example.com",
        "password": crate::support::PASSWORD,
        "display_name": "<b>Heidi</b> http://evil.example",
        "locale": "de-CH",
    });
    app.post("/api/v1/auth/registrations", body)
        .await
        .expect(202);
    let mail = app.mail_to("heidi@example.com").await;
    let html = mail["html"].as_str().unwrap();
    assert!(!html.contains("<b>Heidi"), "{html}");
    assert!(
        mail["subject"].as_str().unwrap().contains("Code")
            || mail["text"].as_str().unwrap().contains("Code"),
        "{mail}"
    );
}

#[tokio::test]
async fn codes_are_nowhere_in_the_clear() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await;
    let code = app.code_for("ada@example.com").await;
    for (table, column) in [
        ("identity.log", "data::text"),
        ("notification.deliveries", "data::text"),
        ("logging.audit_entries", "data::text"),
        ("identity.registrations", "to_jsonb(t)::text"),
    ] {
        let query = format!("SELECT count(*) FROM {table} t WHERE {column} LIKE '%' || $1 || '%'");
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(&code)
            .fetch_one(&app.admin_of(table.split('.').next().unwrap()))
            .await
            .unwrap();
        assert_eq!(found, 0, "{table}");
    }
}
