//! What a browser's session is worth, and what not.

use reqwest::{Method, redirect::Policy};

use crate::support::{PASSWORD, TestApp};

/// Somebody with a browser: what it sends, and what becomes of it.
struct Tab<'a> {
    app: &'a TestApp,
    http: reqwest::Client,
}

struct Seen {
    status: u16,
    location: String,
    cookie: String,
    text: String,
}

impl<'a> Tab<'a> {
    fn new(app: &'a TestApp) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none());
        Self {
            app,
            http: http.build().unwrap(),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Seen {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.app.url))
            .header("accept", "text/html");
        if method == Method::POST {
            request = request.form(form);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let header = |name: &str| {
            let value = answer.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        Seen {
            status: answer.status().as_u16(),
            location: header("location"),
            cookie: header("set-cookie"),
            text: answer.text().await.unwrap(),
        }
    }

    /// Signs in; gives what the cookie says.
    async fn sign_in(&self, email: &str) -> String {
        let form = [("email", email), ("password", PASSWORD)];
        let seen = self.send(Method::POST, "/sign-in", &form, &OURS).await;
        assert_eq!(
            (seen.status, &*seen.location),
            (303, "/account"),
            "{}",
            seen.text
        );
        let cookie = seen.cookie;
        assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }
}

const OURS: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];
const THEIRS: [(&str, &str); 1] = [("sec-fetch-site", "cross-site")];

#[tokio::test]
async fn a_session_ends_everywhere_and_its_cookie_goes() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let tab = Tab::new(&app);
    let cookie = tab.sign_in("ada@example.com").await;
    let with = [("cookie", &*cookie)];
    let seen = tab.send(Method::GET, "/account", &[], &with).await;
    assert_eq!(seen.status, 200);
    assert!(seen.text.contains("ada@example.com"));
    // It is good for the API as well, as if the browser had a token; and no token is ever shown to it.
    let seen = tab.send(Method::GET, "/api/v1/auth/me", &[], &with).await;
    assert_eq!(seen.status, 200);
    assert!(!seen.text.contains("token"));

    let ended = app
        .send(
            Method::DELETE,
            "/api/v1/auth/sessions",
            Some(&ada.access_token),
            None,
            &[],
        )
        .await;
    ended.expect(204);
    app.settle().await;
    let seen = tab.send(Method::GET, "/account", &[], &with).await;
    assert_eq!(
        (seen.status, &*seen.location),
        (303, "/sign-in?next=%2Faccount")
    );
    assert!(seen.cookie.contains("Max-Age=0"), "{}", seen.cookie);
    app.settle().await;
}

#[tokio::test]
async fn other_sites_change_nothing() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let tab = Tab::new(&app);
    // Signing somebody in as oneself is a change, too.
    let form = [("email", "ada@example.com"), ("password", PASSWORD)];
    for headers in [&THEIRS[..], &[], &[("origin", "https://evil.example")]] {
        let seen = tab.send(Method::POST, "/sign-in", &form, headers).await;
        assert_eq!((seen.status, &*seen.cookie), (403, ""), "{headers:?}");
    }
    let cookie = tab.sign_in("ada@example.com").await;
    let sessions = app.count("identity.sessions").await;
    for (method, path) in [
        (Method::POST, "/sign-out"),
        (Method::POST, "/account/sessions/end-others"),
        (Method::DELETE, "/api/v1/auth/sessions"),
    ] {
        let headers = [("cookie", &*cookie), THEIRS[0]];
        let seen = tab.send(method, path, &[], &headers).await;
        assert_eq!(seen.status, 403, "{path}");
        assert!(!seen.cookie.contains("Max-Age=0"));
    }
    assert_eq!(app.count("identity.sessions").await, sessions);
    // A link from elsewhere leads where it says.
    let headers = [("cookie", &*cookie), THEIRS[0]];
    let seen = tab.send(Method::GET, "/account", &[], &headers).await;
    assert_eq!(seen.status, 200);
    app.settle().await;
}

#[tokio::test]
async fn handles_that_were_planted_or_guessed_are_nobodys() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let tab = Tab::new(&app);
    let planted = "A".repeat(43);
    let planted = format!("banyan={planted}");
    let headers = [("cookie", &*planted), OURS[0]];
    let form = [("email", "ada@example.com"), ("password", PASSWORD)];
    let seen = tab.send(Method::POST, "/sign-in", &form, &headers).await;
    assert_eq!(seen.status, 303);
    // Session fixation: the new session has a handle of its own.
    assert!(!seen.cookie.starts_with(&planted));
    for cookie in [&*planted, "banyan=", "banyan=a b", "banyan=../../x"] {
        let seen = tab
            .send(Method::GET, "/account", &[], &[("cookie", cookie)])
            .await;
        assert_eq!(seen.status, 303, "{cookie}");
    }
    // Of two, neither counts: one of them was planted.
    let cookie = tab.sign_in("ada@example.com").await;
    let two = format!("{planted}; {cookie}");
    let seen = tab
        .send(Method::GET, "/account", &[], &[("cookie", &two)])
        .await;
    assert_eq!(seen.status, 303);
    app.settle().await;
}

#[tokio::test]
async fn a_link_in_another_browser_asks_for_a_password() {
    let app = TestApp::start().await;
    let tab = Tab::new(&app);
    let form = [("email", "ada@example.com"), ("password", PASSWORD)];
    let seen = tab.send(Method::POST, "/sign-up", &form, &OURS).await;
    assert_eq!(seen.status, 303, "{}", seen.text);
    let here = seen.cookie.split(';').next().unwrap().to_owned();
    let path = seen.location;
    let there = tab.send(Method::GET, &path, &[], &[]).await;
    assert!(there.text.contains("a password of your own"));
    let here = tab
        .send(Method::GET, &path, &[], &[("cookie", &here)])
        .await;
    assert!(!here.text.contains("a password of your own"));

    let id = path.split("id=").nth(1).unwrap();
    let code = app.code_for("ada@example.com").await;
    let form = [("id", id), ("code", &*code)];
    let seen = tab
        .send(Method::POST, "/sign-up/verify", &form, &OURS)
        .await;
    assert_eq!(seen.status, 422);
    let form = [
        ("id", id),
        ("code", &*code),
        ("password", "words of my own"),
    ];
    let seen = tab
        .send(Method::POST, "/sign-up/verify", &form, &OURS)
        .await;
    assert_eq!((seen.status, &*seen.location), (303, "/account"));
    let login = |password: &str| {
        let body = serde_json::json!({ "email": "ada@example.com", "password": password });
        app.post("/api/v1/auth/login", body)
    };
    login(PASSWORD).await.problem(401, "invalid-credentials");
    login("words of my own").await.expect(200);
    app.settle().await;
}

#[tokio::test]
async fn a_module_that_is_down_takes_its_own_pages_with_it() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let tab = Tab::new(&app);
    let cookie = tab.sign_in("ada@example.com").await;
    tab.send(Method::GET, "/account", &[], &[("cookie", &cookie)])
        .await;
    app.settle().await;
    app.host_of("identity")
        .slot("identity")
        .unwrap()
        .down("a test took it");
    let seen = tab
        .send(Method::GET, "/account", &[], &[("cookie", &cookie)])
        .await;
    assert_eq!(seen.status, 503);
    assert!(seen.text.contains("<!doctype html>"));
    assert!(seen.text.contains("Not available at the moment"));
}
