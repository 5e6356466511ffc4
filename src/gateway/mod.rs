//! The edge: one front door to all modules, wherever they run.
//!
//! A request passes, from the outside in: [`trace`] (request id, trace context, access log, panics),
//! limits of body and time, [`limits`] (rates per client), then [`dispatch`](Gateway::dispatch) to
//! the module whose prefix it has. Modules verify the caller's token themselves.

pub mod health;
pub mod limits;
pub mod openapi;
pub mod server;
pub mod trace;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use kernel::Problem;
use tower::ServiceExt;
use tower_http::{limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

use crate::{
    app::{App, Slot},
    work::Roles,
};

/// What the edge needs to route and to answer for itself.
pub struct Gateway {
    pub(crate) app: Arc<App>,
    /// Prefix and its module, the longest first.
    prefixes: Vec<(&'static str, Arc<Slot>)>,
    /// Set when the process is about to stop: readiness falls.
    draining: AtomicBool,
    roles: Roles,
    checks: health::Checks,
    openapi: axum::body::Bytes,
}

impl Gateway {
    pub fn new(app: Arc<App>, roles: Roles) -> Arc<Self> {
        let mut prefixes: Vec<_> = app
            .slots()
            .iter()
            .flat_map(|slot| {
                slot.module
                    .prefixes()
                    .iter()
                    .map(|p| (*p, Arc::clone(slot)))
            })
            .collect();
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let document = openapi::document()
            .to_json()
            .expect("the document is plain data");
        Arc::new(Self {
            app,
            prefixes,
            draining: AtomicBool::new(false),
            roles,
            checks: health::Checks::default(),
            openapi: document.into(),
        })
    }

    /// From now on the process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn router(self: &Arc<Self>) -> Router {
        let server = &self.app.config.host.server;
        let timeout = Duration::from_secs(server.request_timeout_seconds);
        Router::new()
            .route("/", get(index))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
            .route("/api/openapi.json", get(openapi::serve))
            .fallback(dispatch)
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(Arc::clone(self))
            .layer(middleware::from_fn_with_state(
                Arc::new(limits::Limits::new(&self.app.config.host.gateway)),
                limits::limit,
            ))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::GATEWAY_TIMEOUT,
                timeout,
            ))
            // Our own bound counts for all bodies; axum's, of 2 MiB, would come before it.
            .layer(DefaultBodyLimit::disable())
            .layer(RequestBodyLimitLayer::new(server.max_body_bytes))
            .layer(middleware::from_fn(plain_errors_as_problems))
            .layer(middleware::from_fn_with_state(
                Arc::clone(self),
                trace::trace,
            ))
    }

    fn slot_for(&self, path: &str) -> Option<&Arc<Slot>> {
        let belongs = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.prefixes
            .iter()
            .find(|(prefix, _)| belongs(prefix))
            .map(|(_, slot)| slot)
    }
}

/// Hands the request to the module that owns its path.
async fn dispatch(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let Some(slot) = gateway.slot_for(request.uri().path()) else {
        return Problem::not_found().into_response();
    };
    if !gateway.roles.serves() {
        return Problem::unavailable("This process works in the background.", 1).into_response();
    }
    match slot.router() {
        Some(router) => router.oneshot(request).await.into_response(),
        None => {
            Problem::unavailable(format!("The module {} is down.", slot.name()), 2).into_response()
        }
    }
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "The method is not allowed here",
    )
}

/// Layers of others answer with a status and plain text: the status stays, the body becomes a
/// problem document.
async fn plain_errors_as_problems(request: Request, next: middleware::Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let has_body = response.headers().contains_key(header::CONTENT_TYPE)
        && response.headers().get(header::CONTENT_TYPE)
            != Some(&HeaderValue::from_static("text/plain; charset=utf-8"));
    if !(status.is_client_error() || status.is_server_error()) || has_body {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "payload-too-large", "The body is too large")
        }
        StatusCode::GATEWAY_TIMEOUT => {
            Problem::new(status, "timeout", "The answer took too long").retry_after(1)
        }
        status => Problem::new(
            status,
            "request-failed",
            status.canonical_reason().unwrap_or("The request failed"),
        ),
    };
    let mut answer = problem.into_response();
    // What was said beside the body stays: Allow, Retry-After.
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    answer
}

/// What stands at the root: where to go from here.
async fn index(State(gateway): State<Arc<Gateway>>) -> Response {
    let mailbox = gateway.app.config.development().then_some("/dev/mailbox");
    axum::Json(serde_json::json!({
        "name": "banyan",
        "version": env!("CARGO_PKG_VERSION"),
        "openapi": "/api/openapi.json",
        "health": "/health/ready",
        "mailbox": mailbox,
    }))
    .into_response()
}
