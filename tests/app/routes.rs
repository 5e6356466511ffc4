//! Every route: deny by default.

use banyan::modules::MODULES;
use kernel::{Access, routes::Class};
use reqwest::Method;

use crate::support::TestApp;

/// Routes that anybody may call. A route that is public and not here fails the test, and so does
/// one that is here and is not.
const PUBLIC: &[&str] = &[
    "GET /.well-known/jwks.json",
    "GET /api/v1/profiles/{id}/avatar",
    "GET /dev/mailbox",
    "GET /dev/mailbox/messages",
    "GET /dev/mailbox/messages/{id}/html",
    "GET /notifications/unsubscribe",
    "GET /password/forgot",
    "GET /password/reset",
    "GET /setup",
    "GET /sign-in",
    "GET /sign-in/code",
    "GET /sign-in/mail",
    "GET /sign-up",
    "GET /sign-up/verify",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/login/code",
    "POST /api/v1/auth/login/code/verify",
    "POST /api/v1/auth/logout",
    "POST /api/v1/auth/password/forgot",
    "POST /api/v1/auth/password/reset",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/registrations",
    "POST /api/v1/auth/registrations/{id}/resend",
    "POST /api/v1/auth/registrations/{id}/verify",
    "POST /api/v1/auth/token",
    "POST /notifications/unsubscribe",
    "POST /oauth/token",
    "POST /password/forgot",
    "POST /password/reset",
    "POST /setup",
    "POST /sign-in",
    "POST /sign-in/code",
    "POST /sign-in/mail",
    "POST /sign-out",
    "POST /sign-up",
    "POST /sign-up/verify",
];

/// Routes at which something can be guessed: few requests a minute.
const GUESSABLE: &[&str] = &[
    "POST /account/password",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/login/code",
    "POST /api/v1/auth/login/code/verify",
    "POST /api/v1/auth/password/change",
    "POST /api/v1/auth/password/forgot",
    "POST /api/v1/auth/password/reset",
    "POST /api/v1/auth/registrations",
    "POST /api/v1/auth/registrations/{id}/resend",
    "POST /api/v1/auth/registrations/{id}/verify",
    "POST /api/v1/auth/token",
    "POST /oauth/token",
    "POST /password/forgot",
    "POST /password/reset",
    "POST /setup",
    "POST /sign-in",
    "POST /sign-in/code",
    "POST /sign-in/mail",
    "POST /sign-up",
    "POST /sign-up/verify",
];

#[test]
fn what_can_be_guessed_is_limited_as_such() {
    let routes = MODULES.iter().flat_map(|module| module.api().routes);
    let guessable = routes.filter(|route| route.class == Class::Auth);
    let mut guessable: Vec<_> = guessable
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    guessable.sort();
    assert_eq!(guessable, GUESSABLE);
}

#[tokio::test]
async fn every_route_asks_for_a_token_or_is_on_the_public_list() {
    let app = TestApp::start().await;
    let mut public = Vec::new();
    for route in MODULES.iter().flat_map(|module| module.api().routes) {
        if route.access == Access::Public {
            public.push(format!("{} {}", route.method, route.path));
            continue;
        }
        let path = route
            .path
            .replace("{id}", "00000000-0000-7000-8000-000000000000")
            .replace("{role}", "admin")
            .replace("{act}", "suspend");
        assert!(
            !path.contains('{'),
            "{path} has a parameter that this test does not fill"
        );
        let answer = app.send(route.method.clone(), &path, None, None, &[]).await;
        answer.problem(401, "unauthorized");
        let answer = app
            .send(route.method, &path, Some("not.a.token"), None, &[])
            .await;
        answer.problem(401, "invalid-token");
    }
    public.sort();
    assert_eq!(public, PUBLIC);
}

#[tokio::test]
async fn routes_of_a_role_refuse_those_without_it() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    for route in MODULES.iter().flat_map(|module| module.api().routes) {
        if matches!(route.access, Access::Role(_) | Access::Scope(_)) {
            let answer = app
                .send(
                    route.method,
                    &route.path,
                    Some(&ada.access_token),
                    None,
                    &[],
                )
                .await;
            answer.problem(403, "forbidden");
        }
    }
}

#[test]
fn every_route_lies_under_a_prefix_of_its_module() {
    for module in MODULES {
        for route in module.api().routes {
            let owned = module.prefixes().iter().any(|prefix| {
                route
                    .path
                    .strip_prefix(prefix)
                    .is_some_and(|r| r.is_empty() || r.starts_with('/'))
            });
            assert!(owned, "{} serves {}", module.name(), route.path);
        }
    }
}

#[tokio::test]
async fn what_is_to_go_says_so_and_still_works() {
    let app = TestApp::start().await;
    let document = app.send(Method::GET, "/api/openapi.json", None, None, &[]);
    let document = document.await.expect(200).json();
    let post = |path: &'static str| app.send(Method::POST, path, None, None, &[]);
    let before = post("/api/v1/auth/token").await;
    assert_eq!(before.header("deprecation"), "@1795219200");
    assert_eq!(before.header("sunset"), "Fri, 19 Feb 2027 00:00:00 GMT");
    assert_eq!(
        before.header("link"),
        "</oauth/token>; rel=\"successor-version\""
    );
    let now = post("/oauth/token").await;
    assert!(!now.headers.contains_key("deprecation"));
    assert_eq!((before.status, &before.text), (now.status, &now.text));
    for route in MODULES.iter().flat_map(|module| module.api().routes) {
        let method = route.method.as_str().to_lowercase();
        let described = &document["paths"][&route.path][&method]["deprecated"];
        assert_eq!(
            *described == true,
            route.deprecation.is_some(),
            "{}",
            route.path
        );
        if let Some(deprecation) = route.deprecation {
            assert!(deprecation.since < deprecation.sunset, "{}", route.path);
            let successor = &document["paths"][deprecation.successor];
            assert!(successor.is_object(), "{}", deprecation.successor);
        }
    }
}
