//! Signing in with a code by mail, and accounts without a password.

use serde_json::{Value, json};

use crate::support::{PASSWORD, TestApp, six_digits};

const ASK: &str = "/api/v1/auth/login/code";
const VERIFY: &str = "/api/v1/auth/login/code/verify";
const REGISTRATIONS: &str = "/api/v1/auth/registrations";

async fn ask(app: &TestApp, email: &str) -> Value {
    app.post(ASK, json!({ "email": email }))
        .await
        .expect(202)
        .json()
}

#[tokio::test]
async fn an_account_without_a_password_signs_in_by_mail() {
    let app = TestApp::start().await;
    let registered = app
        .post(REGISTRATIONS, json!({ "email": "ada@example.com" }))
        .await;
    let id = registered.expect(202).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let code = app.code_for("ada@example.com").await;
    app.post(
        &format!("{REGISTRATIONS}/{id}/verify"),
        json!({ "code": code }),
    )
    .await
    .expect(201);
    app.settle().await;
    // No password is its password.
    for password in ["", PASSWORD] {
        let body = json!({ "email": "ada@example.com", "password": password });
        app.post("/api/v1/auth/login", body)
            .await
            .problem(401, "invalid-credentials");
    }
    let id = ask(&app, "ada@example.com").await["id"].clone();
    let code = app.code_for("ada@example.com").await;
    let tokens = app.post(VERIFY, json!({ "id": id, "code": code })).await;
    let token = tokens.expect(200).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    app.get("/api/v1/auth/me", &token).await.expect(200);
    app.post(VERIFY, json!({ "id": id, "code": code }))
        .await
        .problem(422, "verification-failed");
    app.settle().await;
}

#[tokio::test]
async fn a_code_is_good_for_what_it_was_asked_for() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let id = ask(&app, "ada@example.com").await["id"].clone();
    let code = app.code_for("ada@example.com").await;
    let body = json!({ "id": id, "code": code, "new_password": "staple battery horse" });
    app.post("/api/v1/auth/password/reset", body)
        .await
        .problem(422, "verification-failed");
    app.post(VERIFY, json!({ "id": id, "code": code }))
        .await
        .expect(200);
    app.settle().await;
}

#[tokio::test]
async fn nothing_tells_whether_an_address_has_an_account() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let shape = |answer: &Value| {
        answer
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let (known, unknown) = (
        ask(&app, "ada@example.com").await,
        ask(&app, "bob@example.com").await,
    );
    assert_eq!(shape(&known), shape(&unknown));
    // Wrong codes are answered alike, and count alike.
    for answer in [&known, &unknown] {
        for _ in 0..6 {
            app.post(VERIFY, json!({ "id": answer["id"], "code": "000000" }))
                .await
                .problem(422, "verification-failed");
        }
    }
    app.settle().await;
    let mails = app.mails().await;
    let to_bob = mails
        .iter()
        .filter(|mail| mail["to"].as_str().unwrap().contains("bob"));
    assert_eq!(to_bob.count(), 0);
    assert_eq!(app.count("identity.codes").await, 2);
}

#[tokio::test]
async fn few_codes_wait_for_an_address_and_then_they_are_gone() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.settle().await;
    let before = app.mails().await.len();
    let asks = (0..8).map(|_| app.post(ASK, json!({ "email": "ada@example.com" })));
    for answer in futures::future::join_all(asks).await {
        answer.expect(202);
    }
    app.settle().await;
    assert_eq!(app.mails().await.len() - before, 3);
    app.clock.advance(time::Duration::minutes(16));
    app.run_job("purge_expired").await;
    assert_eq!(app.count("identity.codes").await, 0);
}

#[tokio::test]
async fn a_code_expires() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let id = ask(&app, "ada@example.com").await["id"].clone();
    let code = app.code_for("ada@example.com").await;
    app.clock.advance(time::Duration::minutes(16));
    app.post(VERIFY, json!({ "id": id, "code": code }))
        .await
        .problem(422, "verification-failed");
    app.settle().await;
}

#[tokio::test]
async fn who_opens_the_link_elsewhere_sets_a_password_of_their_own() {
    let app = TestApp::start().await;
    // Somebody else registered the address, with a password that they know.
    let id = app.register("ada@example.com").await;
    let code = six_digits(
        app.mail_to("ada@example.com").await["text"]
            .as_str()
            .unwrap(),
    );
    let path = format!("{REGISTRATIONS}/{id}/verify");
    let own = "a password of my own";
    app.post(&path, json!({ "code": code, "password": own }))
        .await
        .expect(201);
    let login = |password: &str| {
        let body = json!({ "email": "ada@example.com", "password": password });
        app.post("/api/v1/auth/login", body)
    };
    login(PASSWORD).await.problem(401, "invalid-credentials");
    login(own).await.expect(200);
    app.settle().await;
}
