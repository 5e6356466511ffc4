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
        json!({ "display_name": "\u{200B}\u{3164}" }),
        json!({ "links": [{ "label": "x", "url": "javascript:alert(1)" }] }),
        json!({ "links": [{ "label": "x", "url": "https://a:b@example.org" }] }),
        json!({ "attributes": { "__proto__": 1 } }),
        json!({ "attributes": { "a": "x".repeat(9_000) } }),
        json!({ "attributes": [] }),
        json!({ "visibility": { "display_name": "private" } }),
        json!({ "visibility": { "bio": "everyone" } }),
    ] {
        let answer = patch(&app, &ada, Some(&etag), body.clone()).await;
        let problem = answer.problem(422, "validation-failed");
        assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn attributes_are_merged_and_links_replaced() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let read = app.get(ME, &ada.access_token).await.expect(200);
    assert_eq!(read.json()["links"], json!([]));
    assert_eq!(read.json()["attributes"], json!({}));
    let mut etag = read.header("etag").to_owned();
    for (edit, links, attributes) in [
        (
            json!({
                "links": [{ "label": "Blog", "url": "https://ada.example" }],
                "attributes": { "plan": "pro", "seen": { "tour": true } },
            }),
            json!([{ "label": "Blog", "url": "https://ada.example/" }]),
            json!({ "plan": "pro", "seen": { "tour": true } }),
        ),
        (
            json!({ "attributes": { "plan": null, "seen": { "news": 1e300 } } }),
            json!([{ "label": "Blog", "url": "https://ada.example/" }]),
            json!({ "seen": { "tour": true, "news": 1e300 } }),
        ),
        (
            json!({ "links": null, "attributes": null }),
            json!([]),
            json!({}),
        ),
    ] {
        let edited = patch(&app, &ada, Some(&etag), edit).await.expect(200);
        assert_eq!(edited.json()["links"], links);
        assert_eq!(edited.json()["attributes"], attributes);
        let read = app.get(ME, &ada.access_token).await.expect(200);
        assert_eq!(read.json(), edited.json());
        etag = edited.header("etag").to_owned();
    }
    // An edit that changes nothing is none.
    let same = patch(
        &app,
        &ada,
        Some(&etag),
        json!({ "attributes": { "plan": null } }),
    )
    .await;
    assert_eq!(same.expect(200).header("etag"), etag);
    app.settle().await;
}

#[tokio::test]
async fn others_see_what_the_owner_shows_and_no_more() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let eve = app.sign_up("eve@example.com").await;
    let path = format!("/api/v1/profiles/{}", ada.user_id);
    let fresh = app.get(&path, &eve.access_token).await.expect(200);
    let nameless = json!({ "user_id": ada.user_id, "display_name": "Ada" });
    assert_eq!(fresh.json(), nameless);

    let etag = app.get(ME, &ada.access_token).await.expect(200);
    let everything = json!({
        "bio": "secret words",
        "locale": "de-AT",
        "time_zone": "Europe/Vienna",
        "links": [{ "label": "Hidden", "url": "https://hidden.example/" }],
        "attributes": { "plan": "hidden" },
    });
    let edited = patch(&app, &ada, Some(etag.header("etag")), everything).await;
    let etag = edited.expect(200).header("etag").to_owned();
    // Nothing of it is seen: the tag neither, which would tell that something was edited.
    let headers = [("if-none-match", fresh.header("etag"))];
    let token = Some(&*eve.access_token);
    let again = app.send(Method::GET, &path, token, None, &headers).await;
    assert_eq!(again.expect(304).text, "");
    // Nor told to other modules.
    app.settle().await;
    let log = app.admin_of("profile");
    let told: Vec<String> = sqlx::query_scalar("SELECT data::text FROM profile.log")
        .fetch_all(&log)
        .await
        .unwrap();
    assert!(told.iter().any(|data| data.contains("Europe/Vienna")));
    for hidden in ["secret words", "hidden"] {
        assert!(!told.iter().any(|data| data.contains(hidden)), "{told:?}");
    }

    let shown = json!({ "visibility": { "bio": "members", "time_zone": "members" } });
    let edited = patch(&app, &ada, Some(&etag), shown).await.expect(200);
    assert_eq!(
        edited.json()["visibility"],
        json!({
            "attributes": "private", "avatar": "members", "bio": "members", "links": "private",
            "locale": "private", "time_zone": "members",
        })
    );
    let seen = app.send(Method::GET, &path, token, None, &headers).await;
    assert_eq!(
        seen.expect(200).json(),
        json!({
            "user_id": ada.user_id,
            "display_name": "Ada",
            "bio": "secret words",
            "time_zone": "Europe/Vienna",
        })
    );

    // Whoever is not there, is not there in the same words.
    for id in [
        "00000000-0000-7000-8000-000000000000",
        "me2",
        "ada@example.com",
    ] {
        let path = format!("/api/v1/profiles/{id}");
        let answer = app.get(&path, &eve.access_token).await;
        let problem = answer.problem(404, "not-found");
        assert_eq!(problem.as_object().unwrap().len(), 3, "{problem}");
    }
    app.send(Method::GET, &path, None, None, &[])
        .await
        .problem(401, "unauthorized");
    app.settle().await;
}

#[tokio::test]
async fn a_profile_is_waited_for_by_its_owner_alone() {
    let app = TestApp::start().await;
    let id = app.register("ada@example.com").await;
    let code = app.code_for("ada@example.com").await;
    let path = format!("/api/v1/auth/registrations/{id}/verify");
    let tokens = app.post(&path, json!({ "code": code })).await.expect(201);
    let tokens = tokens.json();
    let token = tokens["access_token"].as_str().unwrap();
    // Nobody delivers in a test but the test: the news is on its way while these ask.
    let theirs = format!("/api/v1/profiles/{}", tokens["user_id"].as_str().unwrap());
    app.get(&theirs, token).await.problem(404, "not-found");
    let (mine, ()) = tokio::join!(app.get(ME, token), app.deliver_events());
    assert_eq!(mine.expect(200).json()["display_name"], "Ada");
    app.get(&theirs, token).await.expect(200);
    app.settle().await;
}

#[tokio::test]
async fn what_is_told_again_is_what_is_shown() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let read = app.get(ME, &ada.access_token).await.expect(200);
    let edit = json!({
        "bio": "shown words",
        "links": [{ "label": "Hidden", "url": "https://hidden.example/" }],
        "visibility": { "bio": "members" },
    });
    patch(&app, &ada, Some(read.header("etag")), edit)
        .await
        .expect(200);
    app.settle().await;
    let profile = app.hosted().find(|hosted| hosted.db.module() == "profile");
    let restate = profile.expect("it tells again").restate.clone().unwrap();
    let last = restate.restate(None).await.unwrap();
    assert_eq!(last.as_deref(), Some(&*ada.user_id));
    assert_eq!(restate.restate(last).await.unwrap(), None);
    app.settle().await;
    let told: Value = sqlx::query_scalar(
        "SELECT data FROM profile.log WHERE type = 'profile.profile.restated.v1'",
    )
    .fetch_one(&app.admin_of("profile"))
    .await
    .unwrap();
    assert_eq!(told["display_name"], "Ada");
    assert_eq!(
        told["shown"],
        json!({ "bio": "shown words", "links": [], "attributes": {}, "avatar_url": null })
    );
}

#[tokio::test]
async fn nobody_edits_anothers_and_services_have_none() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let eve = app.sign_up("eve@example.com").await;
    let service = app.service_token("shop", "");
    let theirs = format!("/api/v1/profiles/{}", ada.user_id);
    for (method, path) in [
        (Method::PATCH, theirs.clone()),
        (Method::PUT, format!("{theirs}/avatar")),
        (Method::DELETE, format!("{theirs}/avatar")),
        (Method::DELETE, theirs.clone()),
    ] {
        let body = Some(json!({ "bio": "Eve was here" }));
        let any = [("if-match", "*")];
        let answer = app
            .send(method, &path, Some(&eve.access_token), body, &any)
            .await;
        answer.problem(405, "method-not-allowed");
    }
    // What services may see is what people may.
    let seen = app.get(&theirs, &service).await.expect(200);
    let by_eve = app.get(&theirs, &eve.access_token).await.expect(200);
    assert_eq!(seen.text, by_eve.text);
    let mine = format!("{ME}/avatar");
    for (method, path) in [
        (Method::GET, ME),
        (Method::PATCH, ME),
        (Method::PUT, &mine),
        (Method::DELETE, &mine),
    ] {
        let answer = app
            .send(method, path, Some(&service), Some(json!({})), &[])
            .await;
        answer.problem(403, "forbidden");
    }
}
