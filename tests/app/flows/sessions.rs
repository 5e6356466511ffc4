//! Signing in, staying signed in, signing out.

use serde_json::json;

use crate::support::{PASSWORD, TestApp};

const LOGIN: &str = "/api/v1/auth/login";
const REFRESH: &str = "/api/v1/auth/refresh";
const LOGOUT: &str = "/api/v1/auth/logout";
const ME: &str = "/api/v1/auth/me";

#[tokio::test]
async fn login_tells_nothing_of_who_has_an_account() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let wrong = json!({ "email": "ada@example.com", "password": "wrong wrong wrong" });
    let unknown = json!({ "email": "bob@example.com", "password": "wrong wrong wrong" });
    let wrong = app
        .post(LOGIN, wrong)
        .await
        .problem(401, "invalid-credentials");
    let unknown = app
        .post(LOGIN, unknown)
        .await
        .problem(401, "invalid-credentials");
    assert_eq!(wrong, unknown);
    app.login("ADA@example.com").await;
    app.settle().await;
}

#[tokio::test]
async fn refresh_rotates_and_a_lost_answer_can_be_asked_for_again() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let refresh = async |token: &str| app.post(REFRESH, json!({ "refresh_token": token })).await;
    let first = refresh(&ada.refresh_token).await.expect(200).json();
    let again = refresh(&ada.refresh_token).await.expect(200).json();
    assert_eq!(first["refresh_token"], again["refresh_token"]);
    let second_token = first["refresh_token"].as_str().unwrap();
    assert_ne!(second_token, ada.refresh_token);
    app.get(ME, first["access_token"].as_str().unwrap())
        .await
        .expect(200);

    // Once the successor was used, the first one is stolen goods: the whole family goes.
    let third = refresh(second_token).await.expect(200).json();
    refresh(&ada.refresh_token)
        .await
        .problem(401, "invalid-refresh-token");
    let third_token = third["refresh_token"].as_str().unwrap();
    refresh(third_token)
        .await
        .problem(401, "invalid-refresh-token");
    app.deliver_events().await;
    app.get(ME, third["access_token"].as_str().unwrap())
        .await
        .problem(401, "invalid-token");
    app.settle().await;
}

#[tokio::test]
async fn an_answer_is_repeated_for_a_while_only() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let refresh = async |token: &str| app.post(REFRESH, json!({ "refresh_token": token })).await;
    let next = refresh(&ada.refresh_token).await.expect(200).json();
    app.clock.advance(time::Duration::minutes(4));
    refresh(&ada.refresh_token).await.expect(200);
    app.clock.advance(time::Duration::minutes(2));
    // Whoever comes so late holds what somebody else has exchanged.
    refresh(&ada.refresh_token)
        .await
        .problem(401, "invalid-refresh-token");
    refresh(next["refresh_token"].as_str().unwrap())
        .await
        .problem(401, "invalid-refresh-token");
    app.settle().await;
}

#[tokio::test]
async fn sixteen_at_once_leave_one_living_chain() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let mut token = ada.refresh_token.clone();
    for _ in 0..5 {
        let body = json!({ "refresh_token": token });
        let answers = (0..16).map(|_| app.post(REFRESH, body.clone()));
        let answers = futures::future::join_all(answers).await;
        let mut successors: Vec<_> = answers
            .into_iter()
            .map(|a| {
                a.expect(200).json()["refresh_token"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        successors.dedup();
        assert_eq!(successors.len(), 1);
        token = successors.remove(0);
    }
    app.post(REFRESH, json!({ "refresh_token": token }))
        .await
        .expect(200);
    app.settle().await;
}

#[tokio::test]
async fn logout_ends_the_session_everywhere() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    app.get(ME, &ada.access_token).await.expect(200);
    for _ in 0..2 {
        app.post(LOGOUT, json!({ "refresh_token": ada.refresh_token }))
            .await
            .expect(204);
    }
    app.deliver_events().await;
    app.post(REFRESH, json!({ "refresh_token": ada.refresh_token }))
        .await
        .problem(401, "invalid-refresh-token");
    app.get("/api/v1/profiles/me", &ada.access_token)
        .await
        .problem(401, "invalid-token");
    // Another session of the same person goes on.
    let again = app.login("ada@example.com").await;
    app.get(ME, &again.access_token).await.expect(200);
    app.settle().await;
}

#[tokio::test]
async fn tokens_expire_and_forged_ones_are_refused() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let parts: Vec<_> = ada.access_token.split('.').collect();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    for forged in [
        format!("{none}.{}.", parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86)),
        format!("{}.{}.{}", parts[0], parts[1].replace('a', "b"), parts[2]),
        "x".repeat(100_000 / 20),
    ] {
        app.get(ME, &forged).await.problem(401, "invalid-token");
    }
    app.clock.advance(time::Duration::hours(1));
    app.get(ME, &ada.access_token)
        .await
        .problem(401, "invalid-token");
    // A stale token does not keep anybody from signing in.
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.send(
        reqwest::Method::POST,
        LOGIN,
        Some(&ada.access_token),
        Some(body),
        &[],
    )
    .await
    .expect(200);
    app.settle().await;
}

#[tokio::test]
async fn keys_rotate_without_a_token_refused() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let keys = async || {
        let set = app.post_free("/.well-known/jwks.json").await.json();
        set["keys"].as_array().unwrap().len()
    };
    assert_eq!(keys().await, 1);
    // A little before the month is over the next key is published; it does not sign yet.
    app.clock.advance(time::Duration::days(30));
    app.run_job("rotate_signing_keys").await;
    app.deliver_events().await;
    assert_eq!(keys().await, 2);
    let before = app.login("ada@example.com").await;
    app.get(ME, &before.access_token).await.expect(200);
    app.clock.advance(time::Duration::hours(2));
    let after = app.login("ada@example.com").await;
    let kid = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(kid(&before.access_token), kid(&after.access_token));
    app.get(ME, &after.access_token).await.expect(200);
    app.run_job("rotate_signing_keys").await;
    app.deliver_events().await;
    // What is served may be a minute old.
    app.clock.advance(time::Duration::minutes(2));
    assert_eq!(keys().await, 1);
    assert_ne!(ada.access_token, after.access_token);
    app.settle().await;
}

impl TestApp {
    async fn post_free(&self, path: &str) -> crate::support::Answer {
        self.send(reqwest::Method::GET, path, None, None, &[])
            .await
            .expect(200)
    }
}

#[tokio::test]
async fn what_was_revoked_stays_so_after_a_restart() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let body = json!({ "refresh_token": ada.refresh_token });
    app.post(LOGOUT, body).await.expect(204);
    app.settle().await;
    // Another process, whose memory is empty.
    let again = TestApp::on(&app.databases, &[]).await;
    again
        .get("/api/v1/profiles/me", &ada.access_token)
        .await
        .problem(401, "invalid-token");
}
