//! Guesses get slower, for all instances together.

use reqwest::Method;
use serde_json::json;
use time::Duration;

use crate::support::{Answer, PASSWORD, TestApp};

const LOGIN: &str = "/api/v1/auth/login";

async fn login(app: &TestApp, email: &str, password: &str, agent: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    let headers = [("user-agent", agent)];
    app.send(Method::POST, LOGIN, None, Some(body), &headers)
        .await
}

#[tokio::test]
async fn wrong_passwords_cost_pauses_that_double() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    for email in ["ada@example.com", "bob@example.com"] {
        for _ in 0..11 {
            login(&app, email, "wrong wrong wrong", "guesser")
                .await
                .problem(401, "invalid-credentials");
        }
        // Alike, whether there is an account or not; upper case is no other account.
        let refused = login(&app, &email.to_uppercase(), "wrong wrong wrong", "guesser").await;
        assert_eq!(refused.header("retry-after"), "1");
        refused.problem(429, "too-many-attempts");
    }
    // The right one has to wait as well, or it would be told by that.
    login(&app, "ada@example.com", PASSWORD, "guesser")
        .await
        .problem(429, "too-many-attempts");
    app.clock.advance(Duration::seconds(2));
    login(&app, "ada@example.com", "wrong wrong wrong", "guesser")
        .await
        .problem(401, "invalid-credentials");
    let refused = login(&app, "ada@example.com", "wrong wrong wrong", "guesser").await;
    assert_eq!(refused.header("retry-after"), "2");
    app.clock.advance(Duration::seconds(2));
    login(&app, "ada@example.com", PASSWORD, "guesser")
        .await
        .expect(200);
    // It was right: the account's count begins anew.
    login(&app, "ada@example.com", "wrong wrong wrong", "guesser")
        .await
        .problem(401, "invalid-credentials");
    login(&app, "ada@example.com", PASSWORD, "guesser")
        .await
        .expect(200);
    app.settle().await;
}

#[tokio::test]
async fn who_guesses_does_not_keep_the_owner_out() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    login(&app, "ada@example.com", PASSWORD, "ours/1.0")
        .await
        .expect(200);
    for _ in 0..11 {
        login(&app, "ada@example.com", "wrong wrong wrong", "theirs")
            .await
            .problem(401, "invalid-credentials");
    }
    login(&app, "ada@example.com", PASSWORD, "theirs")
        .await
        .problem(429, "too-many-attempts");
    login(&app, "ada@example.com", PASSWORD, "ours/1.0")
        .await
        .expect(200);
    app.settle().await;
}

#[tokio::test]
async fn guesses_at_once_get_no_more_than_guesses_in_turn() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let second = TestApp::on(&app.databases, &[]).await;
    for _ in 0..11 {
        login(&app, "ada@example.com", "wrong wrong wrong", "guesser")
            .await
            .problem(401, "invalid-credentials");
    }
    app.clock.advance(Duration::seconds(2));
    second.clock.advance(Duration::seconds(2));
    let guesses = (0..16).map(|n| {
        let app = if n % 2 == 0 { &app } else { &second };
        login(app, "ada@example.com", "wrong wrong wrong", "guesser")
    });
    let answers = futures::future::join_all(guesses).await;
    let tried = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(tried, 1);
    app.settle().await;
}

#[tokio::test]
async fn a_network_that_guesses_at_many_accounts_waits() {
    let free = [("BANYAN__IDENTITY__FREE_FAILURES_PER_NETWORK", "5")];
    let app = TestApp::with(&free).await;
    for n in 0..6 {
        login(
            &app,
            &format!("u{n}@example.com"),
            "wrong wrong wrong",
            "guesser",
        )
        .await
        .problem(401, "invalid-credentials");
    }
    login(&app, "u9@example.com", "wrong wrong wrong", "guesser")
        .await
        .problem(429, "too-many-attempts");
    app.clock.advance(Duration::days(2));
    app.run_job("purge_expired").await;
    assert_eq!(app.count("identity.failures").await, 0);
    app.settle().await;
}

#[tokio::test]
async fn codes_cannot_be_guessed_by_asking_for_many() {
    let free = [("BANYAN__IDENTITY__FREE_FAILURES_PER_ACCOUNT", "6")];
    let app = TestApp::with(&free).await;
    app.sign_up("ada@example.com").await;
    let mut refused = 0;
    for _ in 0..3 {
        let asked = app
            .post(
                "/api/v1/auth/login/code",
                json!({ "email": "ada@example.com" }),
            )
            .await
            .expect(202);
        let id = asked.json()["id"].clone();
        let guess = json!({ "id": id, "code": "000000" });
        for _ in 0..5 {
            let answer = app
                .post("/api/v1/auth/login/code/verify", guess.clone())
                .await;
            refused += u32::from(answer.status == 429);
        }
    }
    assert_eq!(refused, 8);
    app.settle().await;
}

#[tokio::test]
async fn a_clock_that_is_behind_takes_no_failure_for_a_pause() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let ahead = TestApp::on(&app.databases, &[]).await;
    ahead.clock.advance(Duration::seconds(2));
    login(&ahead, "ada@example.com", "wrong wrong wrong", "ours/1.0")
        .await
        .problem(401, "invalid-credentials");
    login(&app, "ada@example.com", PASSWORD, "ours/1.0")
        .await
        .expect(200);
    app.settle().await;
}
