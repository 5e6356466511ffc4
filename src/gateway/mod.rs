//! The edge: one front door to all modules, wherever they run.
//!
//! A request passes, from the outside in: [`trace`] (request id, trace context, access log, panics),
//! [`metrics`], [`limits`] (rates per caller), [`networks`] (who may come near), [`cors`] (which pages may
//! ask), [`in_flight`] (how many of a client at a time), bounds of body and time, then
//! [`dispatch`](Gateway::dispatch) to the module whose prefix it has, or to the service [`outside`]
//! that has a route by configuration. Modules verify the caller's token themselves; for services
//! outside the edge does. The answer passes [`compression`], [`security`] and [`cors`].
//!
//! These are plain calls and not layers: a layer costs some boxes per request, and here every
//! request passes all of them.

pub mod compression;
pub mod cors;
pub mod forward;
pub mod health;
pub mod homes;
pub mod in_flight;
pub mod internal;
pub mod limits;
pub mod metrics;
pub mod networks;
pub mod openapi;
pub mod outside;
pub mod security;
pub mod server;
pub mod sharing;
pub mod tls;
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
    http::{HeaderMap, StatusCode, Uri, Version, header},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::Limited;
use kernel::{
    Problem,
    csrf::PublicUrl,
    routes::{Class, bearer},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use upstream::Upstream;

use compression::Wish;
use cors::Permission;
use homes::Home;
use limits::Standing;
use outside::Outside;

use crate::{
    app::{App, Slot},
    modules::MODULES,
    pages::{
        self, Pages, Visit, assets,
        browser::{Browser, BrowserSessions},
        overview,
    },
    work::Roles,
};

/// What the edge answers itself, below the modules' prefixes and beside them.
pub(crate) const OF_THE_EDGE: &[&str] = &["/admin", "/api/openapi.json", "/health", "/static"];

/// As what it is counted that the edge answers itself.
const OWN: &str = "edge";

/// The longest address that is answered: as a rule, path and query.
const MAX_URI_BYTES: usize = 8 * 1024;

/// Who speaks in an answer.
enum Answer {
    /// The edge, or a module wherever it runs.
    Ours(Response),
    /// A service of a configured route.
    Outside(Response),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (Self::Ours(response) | Self::Outside(response)) = self;
        response
    }
}

/// What the edge needs to route and to answer for itself.
pub struct Gateway {
    pub(crate) app: Arc<App>,
    homes: homes::Homes,
    /// Set when the process is about to stop: readiness falls.
    draining: AtomicBool,
    roles: Roles,
    limits: limits::Limits,
    in_flight: in_flight::InFlight,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) security: security::Security,
    cors: Option<cors::Cors>,
    pages: Pages,
    pub(crate) browsers: BrowserSessions,
    /// For forms, which only our own pages may send.
    public_url: PublicUrl,
    /// What was let pass, for other instances.
    spent: Arc<sharing::Spent>,
    networks: networks::Networks,
    outside: outside::Routes,
    checks: health::Checks,
    /// What the edge answers itself.
    own: Router<Arc<Self>>,
    openapi: axum::body::Bytes,
}

impl Gateway {
    /// Fails when a service in another process cannot be set up: a certificate that has gone since the
    /// configuration was checked.
    pub fn new(app: Arc<App>, roles: Roles) -> anyhow::Result<Arc<Self>> {
        let document = openapi::document()
            .to_json()
            .expect("the document is plain data");
        let own = Router::new()
            .route("/", get(index))
            .route("/admin", get(overview::serve))
            .route("/static/{digest}/{name}", get(assets::serve))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
            .route("/api/openapi.json", get(openapi::serve))
            .fallback(|| async { Problem::not_found() })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() });
        let config = &app.config.host.gateway;
        let spent = Arc::default();
        Ok(Arc::new(Self {
            limits: limits::Limits::new(config, MODULES, &spent),
            in_flight: in_flight::InFlight::new(config.max_in_flight_per_client),
            metrics: metrics::Metrics::default(),
            cors: cors::Cors::new(&config.cors_origins),
            pages: Pages::new(&app.config.host.server.product_name),
            browsers: BrowserSessions::new(&app.config.host.server.public_url),
            public_url: PublicUrl(Arc::new(app.config.host.server.public_url.clone())),
            security: security::Security::new(&app.config.host.server.public_url),
            networks: networks::Networks::new(config, MODULES),
            outside: outside::Routes::new(&app, &spent)?,
            spent,
            homes: homes::Homes::new(&app)?,
            own,
            app,
            draining: AtomicBool::new(false),
            roles,
            checks: health::Checks::default(),
            openapi: document.into(),
        }))
    }

    /// Looks after the services behind the edge, and counts with other instances, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let services = self.outside.iter().map(|route| &route.upstream);
        let services = services.chain(self.homes.remote());
        let services = services.chain(self.homes.all_internal());
        let watch = |upstream: &Arc<Upstream>| {
            let (upstream, stop) = (Arc::clone(upstream), stop.clone());
            async move { upstream.watch(stop).await }
        };
        let heard = |name: &str, caller: &limits::Caller, count| {
            let mut rates = self.limits.rates().chain(self.outside.rates());
            if let Some(rate) = rates.find(|rate| rate.name() == name) {
                rate.heard(caller, count);
            }
        };
        let sharing = sharing::run(&self.app, &self.spent, heard, stop.clone());
        tokio::join!(futures::future::join_all(services.map(watch)), sharing);
    }

    /// How many requests each limit has refused.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&str, u64)> {
        let rates = self.limits.rates().chain(self.outside.rates());
        let rates = rates.map(|rate| (rate.name(), rate.refused()));
        rates.chain([("in_flight", self.in_flight.refused())])
    }

    /// What requests are passed on to: the name, and how it is.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = (String, upstream::State)> {
        let state = |kind: &'static str| {
            move |upstream: &Arc<Upstream>| (format!("{kind}{}", upstream.name()), upstream.state())
        };
        let outside = self.outside.iter().map(|route| &route.upstream);
        let modules = self.homes.remote().map(state("module:"));
        let internal = self.homes.all_internal().map(state("internal:"));
        modules.chain(internal).chain(outside.map(state("route:")))
    }

    /// From now on the process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Answers a request, and counts it.
    async fn answer(self: &Arc<Self>, request: Request) -> Response {
        let path = request.uri().path();
        let route = self.outside.find(path);
        let module = match (route, self.homes.find(path)) {
            (Some(route), _) => route.label(),
            (None, Some(home)) => home.name(),
            (None, None) => OWN,
        };
        let class = self.limits.class(request.method(), path);
        let shared = route.map_or_else(|| cors::is_shared(path), Outside::is_shared);
        let cors = self.cors.as_ref().filter(|_| shared);
        let permission = cors.map(|cors| cors.permission(&request));
        let compresses = route.map_or(self.app.config.host.gateway.compression, |route| {
            route.is_compressed()
        });
        let wish = compresses.then(|| Wish::of(request.method(), request.headers()));
        let counted = self.metrics.enter(module, class, request.method());
        let mut visit = Visit::of(&request).filter(|_| route.is_none());
        let (admitted, standing) = match self.limit(class, &request) {
            Ok(standing) => {
                let admitted = self.admit(permission.as_ref(), route, &mut visit, request);
                (admitted.await, standing)
            }
            Err(refused) => (Err(refused), None),
        };
        let outside = matches!(admitted, Ok(Answer::Outside(_)));
        let mut response = admitted.into_response();
        if let Some(visit) = visit {
            response = self.pages.finish(visit, response).await;
        }
        if let Some(wish) = wish {
            response = wish.fulfil(response);
        }
        if outside {
            self.security.outside(&mut response);
        } else {
            self.security.ours(&mut response);
        }
        if let Some(standing) = standing {
            standing.write(response.headers_mut(), outside);
        }
        if let Some(permission) = permission {
            permission.write(response.headers_mut());
        }
        counted.answered(response.status());
        response
    }

    /// Refuses a request that cannot be told apart from others, or is one too many.
    fn limit(&self, class: Class, request: &Request) -> Result<Option<Standing>, Problem> {
        if uri_bytes(request.uri()) > MAX_URI_BYTES {
            return Err(uri_too_long());
        }
        let headers = request.headers();
        // RFC 9112 §3.2: whoever reads the first and whoever reads the last would not agree.
        let hosts = headers.get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            return Err(Problem::malformed("A request has one Host header."));
        }
        if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
            let why = "A request has one Authorization header at most.";
            return Err(Problem::malformed(why));
        }
        self.limits.check(class, request, &self.app.verifier)
    }

    /// Answers a request within its bounds: of networks, of body, of time.
    async fn admit(
        self: &Arc<Self>,
        permission: Option<&Permission>,
        route: Option<&Outside>,
        visit: &mut Option<Visit>,
        mut request: Request,
    ) -> Result<Answer, Problem> {
        self.networks.check(&request)?;
        if let Some(answer) = permission.and_then(Permission::preflight) {
            return answer.map(Answer::Ours);
        }
        let _flight = self.in_flight.enter(&request)?;
        let browser = self.know_browser(&mut request).await?;
        if let Some(route) = route {
            if !self.roles.serves() {
                return Err(in_the_background());
            }
            let answer = route.answer(&self.app, request).await;
            return answer.map(Answer::Outside);
        }
        let over = matches!(browser, Browser::Over);
        if let Some(visit) = visit {
            visit.principal = browser.principal();
        }
        let answer = within_bounds(&self.app, request, |request| self.dispatch(request));
        let mut answer = answer.await;
        if over {
            self.browsers.clear(&mut answer);
        }
        Ok(Answer::Ours(answer))
    }

    /// Learns whose token it is, so that the next request with it counts as theirs. Who may do what, the
    /// module decides that the request goes to.
    async fn look_at_token(&self, headers: &HeaderMap) {
        let verifier = &self.app.verifier;
        if let Some(token) = bearer(headers)
            && self.limits.count_callers()
            && verifier.recall(token).is_none()
        {
            let _ = verifier.authenticate(token).await;
        }
    }

    /// Hands the request to the module that owns its path.
    async fn dispatch(self: &Arc<Self>, request: Request) -> Response {
        let Some(home) = self.homes.find(request.uri().path()) else {
            let own = self.own.clone().with_state(Arc::clone(self));
            return own.oneshot(request).await.into_response();
        };
        if !self.roles.serves() {
            return in_the_background().into_response();
        }
        match home {
            Home::Local(slot) => match slot.visit() {
                Some((_visit, router)) => router.oneshot(request).await.into_response(),
                None => is_down(slot).into_response(),
            },
            Home::Remote(upstream) => {
                let mut request = request;
                pages::ask_for_fragments(request.headers_mut());
                self.look_at_token(request.headers()).await;
                let answer = forward::forward(&self.app, upstream, request, None).await;
                match answer {
                    Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => {
                        let module = upstream.name();
                        tracing::error!(module, "modules.{module}.at names a process without it");
                        Problem::unavailable(format!("The module {module} is down."), 2)
                            .into_response()
                    }
                    answer => answer.unwrap_or_else(Problem::into_response),
                }
            }
            Home::Elsewhere(name) => misdirected(name).into_response(),
        }
    }
}

fn is_down(slot: &Slot) -> Problem {
    let name = slot.name();
    if slot.is_away() {
        return Problem::unavailable(format!("The module {name} is being moved."), 5);
    }
    Problem::unavailable(format!("The module {name} is down."), 2)
}

/// RFC 9110 §15.5.20.
fn misdirected(module: &str) -> Problem {
    let title = "This process does not answer for that";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", title).detail(format!(
        "The module {module} is hosted by another process: ask the gateway."
    ))
}

/// Is it the prefix, or does it go on after it with a slash?
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request by `answer`, within the bounds of its body and of its time.
pub(crate) async fn within_bounds<F: Future<Output = Response>>(
    app: &App,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let server = &app.config.host.server;
    let mut request = match bounded(request, server.max_body_bytes) {
        Ok(request) => request,
        Err(refused) => return refused.into_response(),
    };
    // Our own bound counts for all bodies; axum's, of 2 MiB, would come before it.
    DefaultBodyLimit::disable().apply(&mut request);
    let limit = Duration::from_secs(server.request_timeout_seconds);
    match tokio::time::timeout(limit, answer(request)).await {
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

/// Refuses a body that says that it is too large, and cuts one that turns out to be.
fn bounded(request: Request, max_body_bytes: usize) -> Result<Request, Problem> {
    if request.body().size_hint().lower() > max_body_bytes as u64 {
        return Err(Problem::payload_too_large());
    }
    Ok(request.map(|body| Body::new(Limited::new(body, max_body_bytes))))
}

fn in_the_background() -> Problem {
    Problem::unavailable("This process works in the background.", 1)
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
