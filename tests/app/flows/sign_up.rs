//! From registering to the welcome, through every module.

use serde_json::json;

use crate::support::{PASSWORD, TestApp};

const REGISTRATIONS: &str = "/api/v1/auth/registrations";

#[tokio::test]
async fn a_sign_up_flows_through_every_module() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;

    let profile = app
        .get("/api/v1/profiles/me", &ada.access_token)
        .await
        .expect(200)
        .json();
    assert_eq!(profile["display_name"], "Ada");
    let welcome = app.mail_to("ada@example.com").await;
    assert!(
        welcome["subject"].as_str().unwrap().contains("Welcome"),
        "{welcome}"
    );
    let inbox = app
        .get("/api/v1/notifications", &ada.access_token)
        .await
        .expect(200)
        .json();
    assert_eq!(inbox["unread_count"], 1, "{inbox}");

    // Told once each, whatever was delivered again.
    assert_eq!(app.count("identity.users").await, 1);
    assert_eq!(app.count("profile.profiles").await, 1);
    assert_eq!(app.mails().await.len(), 2);
}

#[tokio::test]
async fn one_trace_leads_from_the_registration_to_the_welcome_mail() {
    let app = TestApp::start().await;
    let id = app.register("ada@example.com").await;
    let code = app.code_for("ada@example.com").await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    let body = json!({ "code": code });
    app.send(
        reqwest::Method::POST,
        &format!("{REGISTRATIONS}/{id}/verify"),
        None,
        Some(body),
        &[("traceparent", &traceparent)],
    )
    .await
    .expect(201);
    app.settle().await;

    let delivery: String = sqlx::query_scalar(
        "SELECT trace_id FROM notification.deliveries WHERE template = 'welcome'",
    )
    .fetch_one(&app.admin_of("notification"))
    .await
    .unwrap();
    assert_eq!(delivery, trace_id);
    let admin = app.admin("root@example.com").await;
    let path = format!("/api/v1/audit?trace_id={trace_id}");
    let entries = app.get(&path, &admin.access_token).await.expect(200).json();
    let actions: Vec<_> = entries["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action"].as_str().unwrap())
        .collect();
    for action in [
        "identity.user.registered.v1",
        "identity.session.started.v1",
        "profile.profile.created.v1",
        "notification.message.sent.v1",
    ] {
        assert!(
            actions.contains(&action),
            "{action} is not among {actions:?}"
        );
    }
    app.settle().await;
}

#[tokio::test]
async fn a_taken_address_is_answered_alike_and_its_owner_is_told() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let body = json!({ "email": "ADA@example.com", "password": PASSWORD });
    let taken = app.post(REGISTRATIONS, body).await.expect(202);
    let body = json!({ "email": "new@example.com", "password": PASSWORD });
    let free = app.post(REGISTRATIONS, body).await.expect(202);
    let keys = |answer: &crate::support::Answer| {
        answer
            .json()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&taken), keys(&free));

    let mail = app.mail_to("ada@example.com").await;
    assert!(
        !mail["text"].as_str().unwrap().contains("verification code"),
        "{mail}"
    );
    let id = taken.json()["id"].as_str().unwrap().to_owned();
    app.post(
        &format!("{REGISTRATIONS}/{id}/verify"),
        json!({ "code": "123456" }),
    )
    .await
    .problem(422, "verification-failed");
    assert_eq!(app.count("identity.users").await, 1);
}

#[tokio::test]
async fn a_code_is_good_once_and_for_few_tries() {
    let app = TestApp::start().await;
    let id = app.register("ada@example.com").await;
    let code = app.code_for("ada@example.com").await;
    let path = format!("{REGISTRATIONS}/{id}/verify");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        app.post(&path, json!({ "code": wrong }))
            .await
            .problem(422, "verification-failed");
    }
    app.post(&path, json!({ "code": code }))
        .await
        .problem(422, "verification-failed");

    let id = app.register("eve@example.com").await;
    let code = app.code_for("eve@example.com").await;
    let path = format!("{REGISTRATIONS}/{id}/verify");
    app.post(&path, json!({ "code": code })).await.expect(201);
    app.post(&path, json!({ "code": code }))
        .await
        .problem(422, "verification-failed");
    app.settle().await;
}

#[tokio::test]
async fn of_two_who_prove_one_address_one_gets_the_account() {
    let app = TestApp::start().await;
    let first = app.register("ada@example.com").await;
    let first_code = app.code_for("ada@example.com").await;
    let second = app.register("Ada@Example.com").await;
    let second_code = app.code_for("xample.com").await;
    let verify = async |id: &str, code: &str| {
        let path = format!("{REGISTRATIONS}/{id}/verify");
        app.post(&path, json!({ "code": code }))
            .await
            .status
            .as_u16()
    };
    let (a, b) = tokio::join!(verify(&first, &first_code), verify(&second, &second_code));
    assert!((a == 201) != (b == 201), "{a} {b}");
    assert_eq!(app.count("identity.users").await, 1);
    app.settle().await;
}

#[tokio::test]
async fn a_new_code_replaces_the_old_one() {
    let app = TestApp::start().await;
    let id = app.register("ada@example.com").await;
    let old = app.code_for("ada@example.com").await;
    app.clock.advance(time::Duration::minutes(2));
    app.post(&format!("{REGISTRATIONS}/{id}/resend"), json!({}))
        .await
        .expect(202);
    let new = app.code_for("ada@example.com").await;
    assert_ne!(old, new);
    let path = format!("{REGISTRATIONS}/{id}/verify");
    app.post(&path, json!({ "code": old }))
        .await
        .problem(422, "verification-failed");
    app.post(&path, json!({ "code": new })).await.expect(201);
    app.settle().await;
}

#[tokio::test]
async fn an_expired_registration_cannot_be_verified_and_its_mail_is_not_sent() {
    let app = TestApp::start().await;
    let id = app.register("ada@example.com").await;
    app.deliver_events().await;
    app.clock.advance(time::Duration::hours(2));
    app.run_workers().await;
    assert_eq!(app.mails().await.len(), 0);
    let status: String = sqlx::query_scalar("SELECT status FROM notification.deliveries")
        .fetch_one(&app.admin_of("notification"))
        .await
        .unwrap();
    assert_eq!(status, "expired");
    app.post(
        &format!("{REGISTRATIONS}/{id}/verify"),
        json!({ "code": "123456" }),
    )
    .await
    .problem(422, "verification-failed");
    app.settle().await;
}

#[tokio::test]
async fn bad_input_is_refused_field_by_field() {
    let app = TestApp::start().await;
    let cases = [
        (json!({ "email": "ada", "password": PASSWORD }), "/email"),
        (
            json!({ "email": "a@b\r\nBcc: x@y.de", "password": PASSWORD }),
            "/email",
        ),
        (
            json!({ "email": "ada@example.com", "password": "short" }),
            "/password",
        ),
        (
            json!({ "email": "ada@example.com", "password": "x".repeat(10_000) }),
            "/password",
        ),
        // One of those that are tried first, and one that who knows her would try.
        (
            json!({ "email": "ada@example.com", "password": "Passw0rd" }),
            "/password",
        ),
        (
            json!({ "email": "lovelace@example.com", "password": "lovelace1" }),
            "/password",
        ),
        (
            json!({ "email": "a@example.com", "password": PASSWORD, "display_name": "\u{202e}x" }),
            "/display_name",
        ),
        (
            json!({ "email": "a@example.com", "password": PASSWORD, "locale": "!!" }),
            "/locale",
        ),
        (
            json!({ "email": "a@example.com", "password": PASSWORD, "time_zone": "../etc" }),
            "/time_zone",
        ),
    ];
    for (body, field) in cases {
        let problem = app
            .post(REGISTRATIONS, body)
            .await
            .problem(422, "validation-failed");
        let fields: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["field"].clone())
            .collect();
        assert!(fields.contains(&json!(field)), "{field}: {problem}");
    }
    app.post(
        REGISTRATIONS,
        json!({ "email": "a\u{0}@example.com", "password": PASSWORD }),
    )
    .await
    .problem(400, "malformed-request");
    assert_eq!(app.count("identity.registrations").await, 0);
}
