//! The edge: one front door to all modules, wherever they run.
//!
//! A request passes, from the outside in: [`trace`] (request id, trace context, access log, panics),
//! [`limits`] (rates per client), bounds of body and time, then [`dispatch`](Gateway::dispatch) to
//! the module whose prefix it has. Modules verify the caller's token themselves.
//!
//! These are plain calls and not layers: a layer costs some boxes per request, and here every
//! request passes all of them.

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
    body::{Body, HttpBody},
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, Uri, Version, header},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::Limited;
use kernel::Problem;
use tower::ServiceExt;

use crate::{
    app::{App, Slot},
    work::Roles,
};

/// The longest address that is answered: as a rule, path and query.
const MAX_URI_BYTES: usize = 8 * 1024;

/// What the edge needs to route and to answer for itself.
pub struct Gateway {
    pub(crate) app: Arc<App>,
    /// Prefix and its module, the longest first.
    prefixes: Vec<(&'static str, Arc<Slot>)>,
    /// Set when the process is about to stop: readiness falls.
    draining: AtomicBool,
    roles: Roles,
    limits: limits::Limits,
    checks: health::Checks,
    /// What the edge answers itself.
    own: Router<Arc<Self>>,
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
        let own = Router::new()
            .route("/", get(index))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
            .route("/api/openapi.json", get(openapi::serve))
            .fallback(|| async { Problem::not_found() })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() });
        Arc::new(Self {
            limits: limits::Limits::new(&app.config.host.gateway),
            own,
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

    /// Answers a request within its bounds: of rate, of body, of time.
    async fn answer(self: &Arc<Self>, request: Request) -> Response {
        if uri_bytes(request.uri()) > MAX_URI_BYTES {
            return uri_too_long().into_response();
        }
        // RFC 9112 §3.2: whoever reads the first and whoever reads the last would not agree.
        let hosts = request.headers().get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            return Problem::malformed("A request has one Host header.").into_response();
        }
        if request
            .headers()
            .get_all(header::AUTHORIZATION)
            .iter()
            .count()
            > 1
        {
            let why = "A request has one Authorization header at most.";
            return Problem::malformed(why).into_response();
        }
        if let Err(refused) = self.limits.check(&request) {
            return refused.into_response();
        }
        let server = &self.app.config.host.server;
        let declared = request.body().size_hint().lower();
        if declared > server.max_body_bytes as u64 {
            return Problem::payload_too_large().into_response();
        }
        let mut request = request.map(|body| Body::new(Limited::new(body, server.max_body_bytes)));
        // Our own bound counts for all bodies; axum's, of 2 MiB, would come before it.
        DefaultBodyLimit::disable().apply(&mut request);
        let limit = Duration::from_secs(server.request_timeout_seconds);
        match tokio::time::timeout(limit, self.dispatch(request)).await {
            Ok(response) => as_problem(response),
            Err(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "The answer took too long",
            )
            .retry_after(1)
            .into_response(),
        }
    }

    /// Hands the request to the module that owns its path.
    async fn dispatch(self: &Arc<Self>, request: Request) -> Response {
        let Some(slot) = self.slot_for(request.uri().path()) else {
            let own = self.own.clone().with_state(Arc::clone(self));
            return own.oneshot(request).await.into_response();
        };
        if !self.roles.serves() {
            let why = "This process works in the background.";
            return Problem::unavailable(why, 1).into_response();
        }
        match slot.router() {
            Some(router) => router.oneshot(request).await.into_response(),
            None => {
                let why = format!("The module {} is down.", slot.name());
                Problem::unavailable(why, 2).into_response()
            }
        }
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

/// As long as it is written, without writing it.
fn uri_bytes(uri: &Uri) -> usize {
    let scheme = uri
        .scheme_str()
        .map_or(0, |scheme| scheme.len() + "://".len());
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    scheme + authority + path
}

fn uri_too_long() -> Problem {
    Problem::new(
        StatusCode::URI_TOO_LONG,
        "uri-too-long",
        "The address of the request is too long",
    )
}

/// axum itself refuses with a status and plain text: the status stays, the body becomes a problem
/// document.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let plain = content_type.is_none_or(|t| t == "text/plain; charset=utf-8");
    if !(status.is_client_error() || status.is_server_error()) || !plain {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::payload_too_large(),
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
