//! Another password: by who knows the one before, and by whom a code was mailed.

use reqwest::Method;
use serde_json::json;

use crate::support::{PASSWORD, TestApp};

const CHANGE: &str = "/api/v1/auth/password/change";
const FORGOT: &str = "/api/v1/auth/password/forgot";
const RESET: &str = "/api/v1/auth/password/reset";
const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/auth/me";
const NEW: &str = "staple battery horse";

#[tokio::test]
async fn a_changed_password_ends_all_other_sessions() {
    let app = TestApp::start().await;
    let here = app.sign_up("ada@example.com").await;
    let there = app.login("ada@example.com").await;
    let change = async |token: &str, current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        app.send(Method::POST, CHANGE, Some(token), Some(body), &[])
            .await
    };
    let wrong = change(&here.access_token, "not that one", NEW).await;
    let wrong = wrong.problem(422, "validation-failed");
    assert_eq!(wrong["errors"][0]["field"], "/current_password");
    for common in ["short", "password1", "ada@example.com"] {
        let refused = change(&here.access_token, PASSWORD, common).await;
        let refused = refused.problem(422, "validation-failed");
        assert_eq!(refused["errors"][0]["field"], "/new_password", "{common}");
    }
    change(&here.access_token, PASSWORD, NEW).await.expect(204);
    app.settle().await;

    app.get(ME, &here.access_token).await.expect(200);
    app.get(ME, &there.access_token)
        .await
        .problem(401, "invalid-token");
    app.post(LOGIN, credentials(PASSWORD))
        .await
        .problem(401, "invalid-credentials");
    app.post(LOGIN, credentials(NEW)).await.expect(200);
    let notice = app.mail_to("ada@example.com").await;
    let text = notice["text"].as_str().unwrap();
    assert!(text.contains("password"), "{text}");
    assert!(!text.contains(NEW));
    app.settle().await;
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let change = |new: &'static str| {
        let body = json!({ "current_password": PASSWORD, "new_password": new });
        app.send(
            Method::POST,
            CHANGE,
            Some(&ada.access_token),
            Some(body),
            &[],
        )
    };
    let (one, other) = (NEW, "yet another battery");
    let answers = futures::join!(change(one), change(other));
    let mut statuses = [answers.0.status.as_u16(), answers.1.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 422]);
    let made = if answers.0.status == 204 { one } else { other };
    app.post(LOGIN, credentials(made)).await.expect(200);
    app.settle().await;
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_by_a_mailed_code() {
    let app = TestApp::start().await;
    let before = app.sign_up("ada@example.com").await;
    let asked = app
        .post(FORGOT, json!({ "email": "ADA@example.com" }))
        .await;
    let id = asked.expect(202).json()["id"].clone();
    let code = app.code_for("ada@example.com").await;
    // Asking changes nothing.
    app.get(ME, &before.access_token).await.expect(200);

    let reset = async |code: &str, password: &str| {
        let body = json!({ "id": id, "code": code, "new_password": password });
        app.post(RESET, body).await
    };
    // A password that will not do costs no try.
    for _ in 0..6 {
        reset(&code, "password")
            .await
            .problem(422, "validation-failed");
    }
    reset("000000", NEW)
        .await
        .problem(422, "verification-failed");
    let tokens = reset(&code, NEW).await.expect(200).json();
    assert_eq!(tokens["user_id"], json!(before.user_id));
    app.settle().await;
    app.get(ME, tokens["access_token"].as_str().unwrap())
        .await
        .expect(200);
    app.get(ME, &before.access_token)
        .await
        .problem(401, "invalid-token");
    // It was good once.
    reset(&code, NEW).await.problem(422, "verification-failed");
    app.post(LOGIN, credentials(NEW)).await.expect(200);
    app.settle().await;
}

#[tokio::test]
async fn one_code_sets_one_password_however_many_send_it() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let asked = app
        .post(FORGOT, json!({ "email": "ada@example.com" }))
        .await;
    let id = asked.expect(202).json()["id"].clone();
    let code = app.code_for("ada@example.com").await;
    let resets = (0..4).map(|n| {
        let password = format!("{NEW} {n}");
        app.post(
            RESET,
            json!({ "id": id, "code": code, "new_password": password }),
        )
    });
    let answers = futures::future::join_all(resets).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(
        made,
        1,
        "{:?}",
        answers.iter().map(|a| a.status).collect::<Vec<_>>()
    );
    app.settle().await;
}

#[tokio::test]
async fn a_password_is_hashed_anew_when_the_cost_has_changed() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let dearer = [("BANYAN__IDENTITY__HASH_PASSES", "2")];
    let dearer = TestApp::on(&app.databases, &dearer).await;
    let cost = async || {
        let hash: String = sqlx::query_scalar("SELECT password_hash FROM identity.users")
            .fetch_one(&app.admin_of("identity"))
            .await
            .unwrap();
        hash.split('$').nth(3).unwrap().to_owned()
    };
    assert_eq!(cost().await, "m=8192,t=1,p=1");
    dearer
        .post(LOGIN, credentials("not that one"))
        .await
        .problem(401, "invalid-credentials");
    assert_eq!(cost().await, "m=8192,t=1,p=1");
    dearer.login("ada@example.com").await;
    assert_eq!(cost().await, "m=8192,t=2,p=1");
    dearer.login("ada@example.com").await;
    app.settle().await;
}

#[tokio::test]
async fn what_is_switched_off_cannot_be_called_either() {
    let off = [
        ("BANYAN__IDENTITY__REGISTRATION_OPEN", "false"),
        ("BANYAN__IDENTITY__PASSWORD_SIGN_IN", "false"),
    ];
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let app = TestApp::on(&app.databases, &off).await;
    let body = json!({ "email": "bob@example.com", "password": PASSWORD });
    app.post("/api/v1/auth/registrations", body)
        .await
        .problem(403, "registration-closed");
    app.post(LOGIN, credentials(PASSWORD))
        .await
        .problem(403, "password-sign-in-off");
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    app.send(
        Method::POST,
        CHANGE,
        Some(&ada.access_token),
        Some(body),
        &[],
    )
    .await
    .problem(403, "password-sign-in-off");
    app.settle().await;
}

fn credentials(password: &str) -> serde_json::Value {
    json!({ "email": "ada@example.com", "password": password })
}
