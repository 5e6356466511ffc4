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

#[tokio::test]
async fn no_header_of_a_request_changes_where_mails_lead() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ada@example.com", "password": crate::support::PASSWORD });
    let evil = [
        ("host", "evil.example"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/evil.example"),
        ("origin", "https://evil.example"),
        ("referer", "https://evil.example/"),
        ("user-agent", "<a href=https://evil.example>Firefox</a>"),
    ];
    let path = "/api/v1/auth/registrations";
    let answer = app
        .send(Method::POST, path, None, Some(body), &evil)
        .await
        .expect(202);
    let mail = app.mail_to("ada@example.com").await;
    assert!(!mail.to_string().contains("evil.example"), "{mail}");
    let text = mail["text"].as_str().unwrap();
    let links: Vec<_> = text
        .match_indices("http")
        .map(|(at, _)| &text[at..])
        .collect();
    let public_url = app.edge().config.host.server.public_url.to_string();
    assert!(
        links.iter().all(|link| link.starts_with(&public_url)),
        "{text}"
    );
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let code = crate::support::six_digits(text);
    assert!(
        text.contains(&format!("sign-up/verify?id={id}&code={code}\n")),
        "{text}"
    );
}

#[tokio::test]
async fn services_send_once_to_those_who_want_it_and_people_do_not_send() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let id = app.get("/api/v1/profiles/me", &ada.access_token).await;
    let id = id.expect(200).json()["user_id"].clone();
    let request = json!({
        "recipients": [id],
        "category": "product",
        "content": { "title": "News", "body": "Of the shop." },
    });
    let key = [("idempotency-key", "news-1")];
    let send = async |token: &str| {
        let path = format!("{LIST}/send");
        app.send(
            Method::POST,
            &path,
            Some(token),
            Some(request.clone()),
            &key,
        )
        .await
    };
    let admin = app.admin("root@example.com").await;
    for person in [&ada, &admin] {
        send(&person.access_token).await.problem(403, "forbidden");
    }
    let unscoped = app.service_token("shop", "logs:write");
    send(&unscoped).await.problem(403, "forbidden");

    let shop = app.service_token("shop", "notifications:send");
    let first = send(&shop).await.expect(202).json();
    assert_eq!(send(&shop).await.expect(202).json(), first);
    let mail = app.mail_to("ada@example.com").await;
    assert_eq!(mail["subject"], "News");
    let inbox = app.get(LIST, &ada.access_token).await.expect(200).json();
    assert_eq!(inbox["items"][0]["title"], "News");
    assert_eq!(inbox["unread_count"], 2);

    // The way out that the mail names, as a mail program takes it: no cookie, no token.
    let text = mail["text"].as_str().unwrap();
    let (_, link) = text
        .split_once("/notifications/unsubscribe?")
        .expect("a link");
    let url = format!("{}/notifications/unsubscribe?{}", app.url, link.trim());
    let one_click = [("List-Unsubscribe", "One-Click")];
    let answer = app.http.post(url).form(&one_click).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let path = format!("{LIST}/preferences");
    let now = app.get(&path, &ada.access_token).await.expect(200).json();
    assert_eq!(now["product"], json!({ "email": false, "in_app": true }));

    // Administrators see what became of it, and nobody else does.
    let path = format!("{LIST}/deliveries?template=from_service");
    app.get(&path, &ada.access_token)
        .await
        .problem(403, "forbidden");
    let seen = app.get(&path, &admin.access_token).await.expect(200).json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    assert_eq!(seen["items"][0]["status"], "sent");
}
