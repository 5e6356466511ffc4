//! A module's route table: each route once, with who may call it.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    handler::Handler,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use time::{Date, macros::format_description};
use utoipa::openapi::{
    Deprecated, OpenApi,
    path::{Operation, PathItem},
    security::SecurityRequirement,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::{context::RequestContext, principal::Principal, problem::Problem, token::Verifier};

/// Who may call a route. There is no default: every route says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not.
    Public,
    /// Any verified principal.
    Authenticated,
    /// Users with the role.
    Role(&'static str),
    /// Principals whose token carries the scope.
    Scope(&'static str),
}

impl Access {
    fn check(self, principal: Option<&Principal>) -> Result<(), Problem> {
        let needs = |held: bool, what: &str, name: &str| {
            if held {
                Ok(())
            } else {
                Err(Problem::forbidden(format!("This needs the {what} {name}.")))
            }
        };
        match (self, principal) {
            (Self::Public, _) | (Self::Authenticated, Some(_)) => Ok(()),
            (_, None) => Err(Problem::unauthorized()),
            (Self::Role(role), Some(p)) => needs(p.has_role(role), "role", role),
            (Self::Scope(scope), Some(p)) => needs(p.has_scope(scope), "scope", scope),
        }
    }
}

/// What a request counts as, where requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Sign-in and sign-up: where passwords and codes are guessed, and hashes cost.
    Auth,
    Read,
    Write,
}

impl Class {
    /// Of a request of which a route says nothing else.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Read,
            _ => Self::Write,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub method: Method,
    /// With parameters in braces: `/api/v1/notifications/{id}/read`.
    pub path: String,
    pub access: Access,
    pub class: Class,
    /// For browsers, and so no part of the API's description.
    pub is_page: bool,
    pub deprecation: Option<Deprecation>,
}

/// What is known of a module's HTTP interface without running it.
pub struct Api {
    pub openapi: OpenApi,
    pub routes: Vec<Route>,
}

/// A route that is to go (RFC 9745, RFC 8594).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecation {
    pub since: Date,
    /// From then on it may be gone.
    pub sunset: Date,
    /// The path that takes its place.
    pub successor: &'static str,
}

impl Deprecation {
    fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        let date = format_description!("[weekday repr:short], [day] [month repr:short] [year]");
        let sunset = self.sunset.format(date).expect("a date has all of it");
        let since = self.since.midnight().assume_utc().unix_timestamp();
        let link = format!("<{}>; rel=\"successor-version\"", self.successor);
        let value = |text: String| HeaderValue::try_from(text).expect("plain text");
        [
            (
                HeaderName::from_static("deprecation"),
                value(format!("@{since}")),
            ),
            (
                HeaderName::from_static("sunset"),
                value(format!("{sunset} 00:00:00 GMT")),
            ),
            (header::LINK, value(link)),
        ]
    }
}

/// Builds a module's router, its OpenAPI description and its table of access from one list.
pub struct Routes<S> {
    entries: Vec<Entry<S>>,
}

/// Handlers of one path, and what is said of them.
struct Entry<S> {
    access: Access,
    guessable: bool,
    deprecation: Option<Deprecation>,
    handlers: Handlers<S>,
}

enum Handlers<S> {
    /// For programs: they stand in the description of the API.
    Described(UtoipaMethodRouter<S>),
    /// For browsers.
    Page(Method, String, MethodRouter<S>),
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Adds handlers of one path: `.route(Access::Public, routes!(login::login))`.
    pub fn route(self, access: Access, handlers: UtoipaMethodRouter<S>) -> Self {
        self.add(access, Handlers::Described(handlers))
    }

    /// Adds a page: for browsers, not for programs, so the description of the API leaves it out.
    pub fn page<H, T>(self, access: Access, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let page = Handlers::Page(Method::GET, path.to_owned(), get(handler));
        self.add(access, page)
    }

    /// Adds what a form of a page is sent to.
    pub fn form<H, T>(self, access: Access, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let form = Handlers::Page(Method::POST, path.to_owned(), post(handler));
        self.add(access, form)
    }

    fn add(mut self, access: Access, handlers: Handlers<S>) -> Self {
        self.entries.push(Entry {
            access,
            guessable: false,
            deprecation: None,
            handlers,
        });
        self
    }

    /// Passwords, codes or secrets can be guessed at what was added last: what changes something there
    /// counts as an attempt to sign in, of which there may be few.
    pub fn guessable(mut self) -> Self {
        self.last().guessable = true;
        self
    }

    /// What was added last is to go: each of its answers says so, and the description does.
    pub fn deprecated(mut self, deprecation: Deprecation) -> Self {
        self.last().deprecation = Some(deprecation);
        self
    }

    fn last(&mut self) -> &mut Entry<S> {
        self.entries.last_mut().expect("said of a route")
    }

    pub fn describe(self) -> Api {
        let (router, routes) = self.build();
        let (_, openapi) = router.split_for_parts();
        Api { openapi, routes }
    }

    /// A plain router that verifies the caller's token itself, wherever it runs.
    pub fn into_router(self, state: S, verifier: Arc<Verifier>) -> Router {
        let (router, _) = self.build().0.split_for_parts();
        router
            .with_state(state)
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
            .fallback(|| async { Problem::not_found() })
            .layer(middleware::from_fn_with_state(verifier, authenticate))
    }

    fn build(self) -> (OpenApiRouter<S>, Vec<Route>) {
        let mut router = OpenApiRouter::new();
        let mut table = Vec::new();
        for entry in self.entries {
            let is_page = matches!(entry.handlers, Handlers::Page(..));
            let mut note = |method: Method, path: &str| {
                let class = match Class::of(&method) {
                    Class::Write if entry.guessable => Class::Auth,
                    class => class,
                };
                table.push(Route {
                    method,
                    path: path.to_owned(),
                    access: entry.access,
                    class,
                    is_page,
                    deprecation: entry.deprecation,
                });
            };
            let guarded = |handlers| guarded(entry.access, entry.deprecation, handlers);
            match entry.handlers {
                Handlers::Page(method, path, handlers) => {
                    note(method, &path);
                    router = router.route(&path, guarded(handlers));
                }
                Handlers::Described((schemas, mut paths, handlers)) => {
                    for (path, item) in &mut paths.paths {
                        for (method, operation) in operations(item) {
                            operation.security = Some(match entry.access {
                                Access::Public => vec![],
                                _ => vec![SecurityRequirement::new("bearer", Vec::<String>::new())],
                            });
                            operation.deprecated = entry.deprecation.map(|_| Deprecated::True);
                            note(method, path);
                        }
                    }
                    router = router.routes((schemas, paths, guarded(handlers)));
                }
            }
        }
        (router, table)
    }
}

/// Lets nobody in but who may call the route, and says what is to be said of it.
fn guarded<S: Clone + Send + Sync + 'static>(
    access: Access,
    deprecation: Option<Deprecation>,
    handlers: MethodRouter<S>,
) -> MethodRouter<S> {
    let handlers = handlers.layer(middleware::from_fn(
        move |request: Request, next: Next| async move {
            match access.check(request.extensions().get::<Principal>()) {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            }
        },
    ));
    let Some(deprecation) = deprecation else {
        return handlers;
    };
    let told = deprecation.headers();
    handlers.layer(middleware::map_response(move |response| {
        std::future::ready(with(response, told.clone()))
    }))
}

/// Beside what it says already: there may be other links.
fn with(mut response: Response, told: [(HeaderName, HeaderValue); 3]) -> Response {
    for (name, value) in told {
        response.headers_mut().append(name, value);
    }
    response
}

/// Puts the verified [`Principal`] into the request, and the actor into the ambient context.
///
/// A token that does not verify is refused on guarded routes and disregarded on public ones: a
/// stale token must not keep anybody from signing in.
async fn authenticate(
    State(verifier): State<Arc<Verifier>>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    request.extensions_mut().remove::<Principal>();
    let Some(token) = bearer(request.headers()) else {
        return next.run(request).await;
    };
    let principal = match verifier.authenticate(token).await {
        Ok(principal) => principal,
        Err(problem) => {
            let response = next.run(request).await;
            let refused = response.status() == axum::http::StatusCode::UNAUTHORIZED
                && response.headers().contains_key(header::WWW_AUTHENTICATE);
            return if refused {
                problem.into_response()
            } else {
                response
            };
        }
    };
    let mut context = RequestContext::current().unwrap_or_default();
    context.actor = Some(principal.actor());
    request.extensions_mut().insert(principal);
    context.scope(next.run(request)).await
}

/// The token of a request, not verified yet.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::HEAD, item.head.as_mut()),
        (Method::OPTIONS, item.options.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn what_is_to_go_says_when_and_what_takes_its_place() {
        let deprecation = Deprecation {
            since: date!(2023 - 06 - 30),
            sunset: date!(2024 - 06 - 30),
            successor: "/new",
        };
        let told = deprecation.headers();
        let told: Vec<_> = told
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                "deprecation: @1688083200",
                "sunset: Sun, 30 Jun 2024 00:00:00 GMT",
                "link: </new>; rel=\"successor-version\"",
            ]
        );
    }
}
