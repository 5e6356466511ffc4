//! Pages of other origins.

use axum::{Router, routing::any};
use reqwest::Method;
use tokio::net::TcpListener;

use crate::support::{Answer, TestApp};

const OURS: (&str, &str) = ("origin", "https://app.example.com");
const THEIRS: (&str, &str) = ("origin", "https://app.example.com.evil.test");
const ASKS: (&str, &str) = ("access-control-request-method", "POST");
const LOGIN: &str = "/api/v1/auth/login";
const ALLOWED: &str = "access-control-allow-origin";

async fn preflight(app: &TestApp, path: &str, origin: (&str, &str)) -> Answer {
    app.send(Method::OPTIONS, path, None, None, &[origin, ASKS])
        .await
}

#[tokio::test]
async fn named_origins_may_call_and_read_what_they_need() {
    let app = TestApp::with(&[("BANYAN__GATEWAY__CORS_ORIGINS", "https://app.example.com")]).await;
    let allowed = preflight(&app, LOGIN, OURS).await.expect(204);
    assert_eq!(allowed.header(ALLOWED), OURS.1);
    assert_eq!(allowed.header("access-control-max-age"), "7200");
    assert_eq!(allowed.header("vary"), "origin");
    assert!(
        allowed
            .header("access-control-allow-headers")
            .contains("Authorization")
    );
    assert!(
        !allowed
            .headers
            .contains_key("access-control-allow-credentials")
    );

    let answer = app
        .send(Method::GET, "/api/v1/auth/me", None, None, &[OURS])
        .await;
    assert_eq!(answer.header(ALLOWED), OURS.1, "of a problem too");
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("Retry-After")
    );
    let answer = app
        .send(Method::GET, "/.well-known/jwks.json", None, None, &[])
        .await;
    assert_eq!(answer.header("vary"), "origin", "or a cache mixes them up");
    assert!(!answer.headers.contains_key(ALLOWED));

    for origin in [
        THEIRS,
        ("origin", "null"),
        ("origin", "http://app.example.com"),
    ] {
        let refused = preflight(&app, LOGIN, origin).await;
        assert!(!refused.headers.contains_key(ALLOWED), "{origin:?}");
        refused.problem(403, "forbidden");
        let answer = app.send(Method::GET, LOGIN, None, None, &[origin]).await;
        assert!(!answer.headers.contains_key(ALLOWED), "{origin:?}");
    }
    // Pages are for people, not for other pages.
    let page = app
        .send(Method::GET, "/dev/mailbox/messages", None, None, &[OURS])
        .await;
    assert!(!page.expect(200).headers.contains_key(ALLOWED));
    preflight(&app, "/setup", OURS)
        .await
        .problem(405, "method-not-allowed");
}

#[tokio::test]
async fn nobody_is_allowed_unless_named() {
    let app = TestApp::start().await;
    let refused = preflight(&app, LOGIN, OURS).await;
    assert!(!refused.headers.contains_key(ALLOWED) && !refused.headers.contains_key("vary"));
    refused.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_service_answers_for_itself_unless_its_route_says_otherwise() {
    let own = || async {
        [
            (ALLOWED, "*"),
            ("access-control-allow-credentials", "true"),
            ("x-reached", "yes"),
        ]
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let service = Router::new().fallback(any(own));
    tokio::spawn(async move { axum::serve(listener, service).await });
    let route = |name: &str, rest: &str| {
        format!(
            "[[gateway.routes]]\nname = {name:?}\nprefix = \"/{name}\"\npublic = true\n\
             upstream = {{ at = \"http://{at}\" }}\n{rest}\n"
        )
    };
    let origins = "[gateway]\ncors_origins = [\"https://app.example.com\"]\n";
    let routes = route("own", "") + &route("shared", "cors = true");
    let app = TestApp::configured(&format!("{origins}{routes}")).await;
    let answer = preflight(&app, "/own", OURS).await.expect(200);
    assert_eq!(
        (answer.header(ALLOWED), answer.header("x-reached")),
        ("*", "yes")
    );
    let answer = preflight(&app, "/shared", OURS).await.expect(204);
    assert_eq!(answer.header(ALLOWED), OURS.1);
    for (origin, allowed) in [(OURS, true), (THEIRS, false)] {
        let answer = app
            .send(Method::GET, "/shared", None, None, &[origin])
            .await
            .expect(200);
        assert_eq!(answer.headers.contains_key(ALLOWED), allowed);
        assert!(
            !answer
                .headers
                .contains_key("access-control-allow-credentials")
        );
        assert_eq!(
            answer.headers.get_all(ALLOWED).iter().count(),
            usize::from(allowed)
        );
    }
}
