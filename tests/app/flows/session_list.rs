//! Where somebody is signed in, and ending it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestApp};

const SESSIONS: &str = "/api/v1/auth/sessions";
const ME: &str = "/api/v1/auth/me";

async fn login_from(app: &TestApp, agent: &str) -> Value {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let headers = [("user-agent", agent)];
    let login = "/api/v1/auth/login";
    let answer = app
        .send(Method::POST, login, None, Some(body), &headers)
        .await;
    answer.expect(200).json()
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions_and_nobody_elses() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let bob = app.sign_up("bob@example.com").await;
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let there = login_from(&app, firefox).await;
    let list =
        async |token: &str| app.get(SESSIONS, token).await.expect(200).json()["items"].clone();
    let sessions = list(&ada.access_token).await;
    let sessions = sessions.as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0]["device"], "Firefox on Linux");
    assert_eq!(sessions[0]["address"], "127.0.0.1");
    assert_eq!(sessions[0]["current"], false);
    assert_eq!(sessions[1]["current"], true);

    let end = async |token: &str, id: &Value| {
        let path = format!("{SESSIONS}/{}", id.as_str().unwrap());
        app.send(Method::DELETE, &path, Some(token), None, &[])
            .await
    };
    let id = &sessions[0]["id"];
    end(&bob.access_token, id).await.problem(404, "not-found");
    end(&ada.access_token, id).await.expect(204);
    end(&ada.access_token, id).await.problem(404, "not-found");
    app.settle().await;
    app.get(ME, there["access_token"].as_str().unwrap())
        .await
        .problem(401, "invalid-token");

    let others = [
        login_from(&app, firefox).await,
        login_from(&app, "curl/8").await,
    ];
    app.send(Method::DELETE, SESSIONS, Some(&ada.access_token), None, &[])
        .await
        .expect(204);
    app.settle().await;
    for other in others {
        app.get(ME, other["access_token"].as_str().unwrap())
            .await
            .problem(401, "invalid-token");
    }
    assert_eq!(list(&ada.access_token).await.as_array().unwrap().len(), 1);
    app.get(ME, &bob.access_token).await.expect(200);
    app.settle().await;
}

#[tokio::test]
async fn a_sign_in_from_an_unfamiliar_device_is_told_to_its_owner() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.settle().await;
    let before = app.mails().await.len();
    login_from(&app, "ours/1.0").await;
    app.settle().await;
    let notice = app.mail_to("ada@example.com").await;
    assert!(
        notice["text"].as_str().unwrap().contains("ours"),
        "{notice}"
    );
    login_from(&app, "ours/1.1").await;
    app.settle().await;
    assert_eq!(app.mails().await.len(), before + 1);
}
