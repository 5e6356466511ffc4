//! Reading and editing one's profile.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Person, TestApp};

const ME: &str = "/api/v1/profiles/me";

async fn patch(app: &TestApp, who: &Person, etag: Option<&str>, body: Value) -> Answer {
    let headers: Vec<_> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
    app.send(
        Method::PATCH,
        ME,
        Some(&who.access_token),
        Some(body),
        &headers,
    )
    .await
}

#[tokio::test]
async fn edits_need_the_state_that_was_read() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let read = app.get(ME, &ada.access_token).await.expect(200);
    let etag = read.header("etag").to_owned();
    patch(&app, &ada, None, json!({ "bio": "x" }))
        .await
        .problem(428, "precondition-required");
    let edited = patch(&app, &ada, Some(&etag), json!({ "display_name": "Ada L." }))
        .await
        .expect(200);
    assert_eq!(edited.json()["display_name"], "Ada L.");
    let stale = patch(&app, &ada, Some(&etag), json!({ "display_name": "Eve" })).await;
    stale.problem(412, "precondition-failed");

    let etag = edited.header("etag").to_owned();
    assert_ne!(etag, read.header("etag"));
    let headers = [("if-none-match", &*etag)];
    app.send(Method::GET, ME, Some(&ada.access_token), None, &headers)
        .await
        .expect(304);

    // What notification knows of the recipient follows.
    app.settle().await;
    let name: String = sqlx::query_scalar("SELECT display_name FROM notification.recipients")
        .fetch_one(&app.admin_of("notification"))
        .await
        .unwrap();
    assert_eq!(name, "Ada L.");
}

#[tokio::test]
async fn of_two_editors_one_wins() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let etag = app
        .get(ME, &ada.access_token)
        .await
        .expect(200)
        .header("etag")
        .to_owned();
    let edits = (0..8).map(|n| patch(&app, &ada, Some(&etag), json!({ "bio": format!("{n}") })));
    let statuses: Vec<_> = futures::future::join_all(edits)
        .await
        .iter()
        .map(|a| a.status.as_u16())
        .collect();
    assert_eq!(
        statuses.iter().filter(|s| **s == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|s| **s == 412).count(),
        7,
        "{statuses:?}"
    );
    app.settle().await;
}

#[tokio::test]
async fn unknown_and_unfit_fields_are_refused() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let etag = app
        .get(ME, &ada.access_token)
        .await
        .expect(200)
        .header("etag")
        .to_owned();
    for body in [
        json!({ "user_id": "00000000-0000-0000-0000-000000000000" }),
        json!({ "display_name": "x".repeat(1_000) }),
        json!({ "bio": 5 }),
        json!({ "time_zone": "Mars/Olympus; DROP" }),
    ] {
        let answer = patch(&app, &ada, Some(&etag), body.clone()).await;
        let problem = answer.problem(422, "validation-failed");
        assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{body}");
    }
}
