//! What people do not want to be told, and the links that stop it.

use axum::{body::Body, http::Request};
use kernel::UserId;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{App, body, count, inside};

const PATH: &str = "/api/v1/notifications/preferences";

/// Status, entity tag and body.
async fn patch(
    app: &App,
    user_id: UserId,
    if_match: Option<&str>,
    edit: &Value,
) -> (u16, String, Value) {
    let mut request = Request::patch(PATH)
        .header("authorization", format!("Bearer {}", app.token(user_id)))
        .header("content-type", "application/merge-patch+json");
    if let Some(tag) = if_match {
        request = request.header("if-match", tag);
    }
    let request = request.body(Body::from(edit.to_string())).unwrap();
    let response = app.router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let tag = response.headers().get("etag");
    let tag = tag.map_or_else(String::new, |tag| tag.to_str().unwrap().to_owned());
    let body = serde_json::from_slice(&body(response).await).unwrap();
    (status, tag, body)
}

async fn post(app: &App, path: &str, form: &str) -> (u16, String) {
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .unwrap();
    let response = app.router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(body(response).await).unwrap())
}

/// Path and query of the link in the newest mail.
async fn unsubscribe_link(app: &App) -> String {
    let mail = app.mails().await.remove(0);
    let text = mail["text"].as_str().unwrap();
    let (_, rest) = text
        .split_once("http://localhost:8080/notifications/")
        .expect("a link");
    format!("/notifications/{}", rest.trim())
}

#[tokio::test]
async fn preferences_are_ones_own_and_edits_name_their_version() {
    let app = App::start().await;
    let (ada, bob) = (app.register("en").await, app.register("en").await);
    let on = json!({ "email": true, "in_app": true });
    let all = json!({ "security": on, "account": on, "product": on });
    let response = app.send("GET", PATH, Some(ada)).await;
    let first = response.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(app.get(PATH, Some(ada)).await, (200, all.clone()));

    let edit = json!({ "product": { "email": false }, "security": { "in_app": false } });
    assert_eq!(patch(&app, ada, None, &edit).await.0, 428);
    let (status, second, now) = patch(&app, ada, Some(&first), &edit).await;
    assert_eq!(status, 200);
    assert_eq!(now["product"], json!({ "email": false, "in_app": true }));
    assert_eq!(now["security"], json!({ "email": true, "in_app": false }));
    // A second edit of what the first author saw is refused, and so is another person's tag.
    assert_eq!(patch(&app, ada, Some(&first), &edit).await.0, 412);
    assert_eq!(patch(&app, bob, Some(&second), &edit).await.0, 412);
    let (status, third, _) = patch(&app, ada, Some(&second), &edit).await;
    assert_eq!((status, third), (200, second), "nothing changed");
    assert_eq!(app.get(PATH, Some(bob)).await, (200, all));
    assert_eq!(app.get(PATH, None).await.0, 401);
}

#[tokio::test]
async fn two_first_edits_of_one_version_do_not_both_count() {
    let app = App::start().await;
    let ada = app.register("en").await;
    let response = app.send("GET", PATH, Some(ada)).await;
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let (one, two) = (
        json!({ "product": { "email": false } }),
        json!({ "account": { "email": false } }),
    );
    let (one, two) = tokio::join!(
        patch(&app, ada, Some(&tag), &one),
        patch(&app, ada, Some(&tag), &two)
    );
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn what_must_stay_on_and_what_is_not_known_is_refused_field_by_field() {
    let app = App::start().await;
    let ada = app.register("en").await;
    for (edit, field) in [
        (json!({ "security": { "email": false } }), "/security/email"),
        (json!({ "product": { "email": null } }), "/product/email"),
        (json!({ "product": { "sms": false } }), "/product/sms"),
        (json!({ "marketing": { "email": false } }), "/marketing"),
    ] {
        let (status, _, problem) = patch(&app, ada, Some("*"), &edit).await;
        assert_eq!(status, 422, "{edit}");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    // Whatever the code does, the table holds it.
    let broken = "INSERT INTO notification.preferences (user_id, version, muted, updated_at)
                  VALUES (gen_random_uuid(), 1, '{security.email}', now())";
    let error = sqlx::query(broken).execute(app.pool()).await.unwrap_err();
    let constraint = error.as_database_error().unwrap().constraint();
    assert_eq!(constraint, Some("preferences_security_check"));
}

#[tokio::test]
async fn a_mail_that_is_not_wanted_is_not_sent_whenever_that_was_said() {
    let app = App::start().await;
    let off = json!({ "account": { "email": false, "in_app": false } });
    // Said before the mail is made.
    let early = UserId(app.world.uuid());
    patch(&app, early, Some("*"), &off).await;
    app.publish(&crate::support::registered(early, "en")).await;
    app.publish(&crate::support::profiled(early, "en")).await;
    app.deliver_events().await;
    // Said while it waits.
    let late = app.register("en").await;
    patch(&app, late, Some("*"), &off).await;
    app.send_mails().await;
    assert!(app.mails().await.is_empty());
    let mut conn = app.conn().await;
    let muted = "SELECT count(*) FROM notification.deliveries
                  WHERE status = 'muted' AND finished_at IS NOT NULL";
    assert_eq!(count(&mut conn, muted).await, 2, "and it can be told why");
    let (_, inbox) = app.get("/api/v1/notifications", Some(early)).await;
    assert_eq!(inbox["unread_count"], 0);
    let published = app.published().await;
    let told: Vec<_> = published
        .iter()
        .filter(|(_, data)| data["reason"] == "muted")
        .collect();
    assert_eq!(told.len(), 1, "of the one that was to be sent");
}

#[tokio::test]
async fn one_click_stops_mails_of_a_kind_and_looking_does_not() {
    let app = App::start().await;
    let ada = app.register("de").await;
    app.send_mails().await;
    let link = unsubscribe_link(&app).await;

    for _ in 0..3 {
        let page = app.send("GET", &link, None).await;
        assert_eq!(page.status(), 200);
        let html = inside(body(page).await);
        assert!(html.contains("<form method=\"post\">") && html.contains("Mails abbestellen?"));
        assert!(!html.contains("<script"));
    }
    let email = async || app.get(PATH, Some(ada)).await.1["account"]["email"].clone();
    assert_eq!(email().await, true, "looking changes nothing");

    assert_eq!(post(&app, &link, "").await.0, 400);
    assert_eq!(email().await, true);
    for _ in 0..2 {
        let (status, html) = post(&app, &link, "List-Unsubscribe=One-Click").await;
        assert_eq!(status, 200);
        assert!(html.contains("Abbestellt"), "{html}");
        assert_eq!(email().await, false);
    }
    let (_, now) = app.get(PATH, Some(ada)).await;
    assert_eq!(now["product"]["email"], true, "of that kind alone");
    assert_eq!(now["account"]["in_app"], true);
    let mut conn = app.conn().await;
    let once = "SELECT version FROM notification.preferences";
    assert_eq!(count(&mut conn, once).await, 1);

    // Switched on again, and off by the same mail: it is the person's own.
    patch(
        &app,
        ada,
        Some("*"),
        &json!({ "account": { "email": true } }),
    )
    .await;
    post(&app, &link, "List-Unsubscribe=One-Click").await;
    assert_eq!(email().await, false);
}

#[tokio::test]
async fn a_link_that_was_not_made_here_or_is_anothers_stops_nothing() {
    let app = App::start().await;
    let (ada, bob) = (app.register("en").await, app.register("en").await);
    app.send_mails().await;
    let link = unsubscribe_link(&app).await;
    let hex = |user: UserId| user.0.simple().to_string();
    let (own, other) = if link.contains(&hex(ada)) {
        (ada, bob)
    } else {
        (bob, ada)
    };
    for forged in [
        link.replace("account", "product"),
        link.replace("account", "security"),
        link.replace(&hex(own), &hex(other)),
        format!("{link}x"),
        "/notifications/unsubscribe?token=x".to_owned(),
    ] {
        assert_eq!(app.send("GET", &forged, None).await.status(), 404);
        let (status, html) = post(&app, &forged, "List-Unsubscribe=One-Click").await;
        assert_eq!(status, 404, "{forged}");
        assert!(html.contains("This link does not work"));
    }
    let missing = app.send("GET", "/notifications/unsubscribe", None).await;
    assert_eq!(missing.status(), 422);
    let mut conn = app.conn().await;
    let rows = "SELECT count(*) FROM notification.preferences";
    assert_eq!(count(&mut conn, rows).await, 0);

    // Somebody who is gone: the old link leaves nothing behind.
    sqlx::query("DELETE FROM notification.recipient_accounts")
        .execute(app.pool())
        .await
        .unwrap();
    let (status, _) = post(&app, &link, "List-Unsubscribe=One-Click").await;
    assert_eq!(status, 404);
    assert_eq!(count(&mut conn, rows).await, 0);
}
