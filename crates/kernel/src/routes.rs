//! A module's route table: each route once, with who may call it.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    handler::Handler,
    http::{HeaderMap, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use utoipa::openapi::{
    OpenApi,
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
}

/// What is known of a module's HTTP interface without running it.
pub struct Api {
    pub openapi: OpenApi,
    pub routes: Vec<Route>,
}

/// Builds a module's router, its OpenAPI description and its table of access from one list.
pub struct Routes<S> {
    router: OpenApiRouter<S>,
    table: Vec<Route>,
    /// Where the table's part begins that came with the last handlers.
    last: usize,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new() -> Self {
        Self {
            router: OpenApiRouter::new(),
            table: Vec::new(),
            last: 0,
        }
    }

    /// Adds handlers of one path: `.route(Access::Public, routes!(login::login))`.
    pub fn route(mut self, access: Access, handlers: UtoipaMethodRouter<S>) -> Self {
        let (schemas, mut paths, method_router) = handlers;
        self.last = self.table.len();
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                operation.security = Some(match access {
                    Access::Public => vec![],
                    _ => vec![SecurityRequirement::new("bearer", Vec::<String>::new())],
                });
                self.table.push(Route {
                    class: Class::of(&method),
                    method,
                    path: path.clone(),
                    access,
                });
            }
        }
        let guarded = guarded(access, method_router);
        self.router = self.router.routes((schemas, paths, guarded));
        self
    }

    /// Adds a page: for browsers, not for programs, so the description of the API leaves it out.
    pub fn page<H, T>(mut self, access: Access, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.router = self.router.route(path, guarded(access, get(handler)));
        self.note(access, Method::GET, path)
    }

    /// Adds what a form of a page is sent to.
    pub fn form<H, T>(mut self, access: Access, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.router = self.router.route(path, guarded(access, post(handler)));
        self.note(access, Method::POST, path)
    }

    fn note(mut self, access: Access, method: Method, path: &str) -> Self {
        self.last = self.table.len();
        self.table.push(Route {
            class: Class::of(&method),
            method,
            path: path.to_owned(),
            access,
        });
        self
    }

    /// Passwords, codes or secrets can be guessed at what was added last: what changes something there
    /// counts as an attempt to sign in, of which there may be few.
    pub fn guessable(mut self) -> Self {
        let last = self.table[self.last..].iter_mut();
        last.filter(|route| route.class == Class::Write)
            .for_each(|route| route.class = Class::Auth);
        self
    }

    pub fn describe(self) -> Api {
        let (_, openapi) = self.router.split_for_parts();
        Api {
            openapi,
            routes: self.table,
        }
    }

    /// A plain router that verifies the caller's token itself, wherever it runs.
    pub fn into_router(self, state: S, verifier: Arc<Verifier>) -> Router {
        let (router, _) = self.router.split_for_parts();
        router
            .with_state(state)
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
            .fallback(|| async { Problem::not_found() })
            .layer(middleware::from_fn_with_state(verifier, authenticate))
    }
}

/// Lets nobody in but who may call the route.
fn guarded<S: Clone + Send + Sync + 'static>(
    access: Access,
    routes: MethodRouter<S>,
) -> MethodRouter<S> {
    routes.layer(middleware::from_fn(
        move |request: Request, next: Next| async move {
            match access.check(request.extensions().get::<Principal>()) {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            }
        },
    ))
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
