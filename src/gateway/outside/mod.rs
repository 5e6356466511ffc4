//! Services of other people's behind our front door, by configuration alone: who may call them, how
//! often, and what they are told of the caller.

mod paths;
mod settings;

use std::sync::Arc;

use anyhow::Context;
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use kernel::{Principal, Problem, routes::bearer};
use upstream::Upstream;

pub use paths::{is_prefix, plain, rewritten};
pub use settings::{Settings, faults};

use super::{
    bounded,
    forward::forward,
    is_below,
    limits::{Caller, Rate, client},
    networks::Lists,
    sharing::Spent,
};
use crate::app::App;

const PRINCIPAL: HeaderName = HeaderName::from_static("x-banyan-principal");
const SCOPES: HeaderName = HeaderName::from_static("x-banyan-scopes");
const ROLES: HeaderName = HeaderName::from_static("x-banyan-roles");

/// The routes, the longest prefix first.
pub struct Routes(Vec<Outside>);

/// A route to a service.
pub struct Outside {
    settings: Settings,
    /// As what it is counted: no module's name.
    label: String,
    pub upstream: Arc<Upstream>,
    rate: Option<Rate>,
    networks: Lists,
    max_body_bytes: usize,
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Routes {
    pub fn new(app: &App, spent: &Arc<Spent>) -> anyhow::Result<Self> {
        let routes = &app.config.host.gateway.routes;
        let mut routes = routes
            .iter()
            .map(|settings| {
                let route = Outside::new(app, settings.clone(), spent);
                route.with_context(|| format!("gateway.routes {:?}", settings.name))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        routes.sort_by_key(|route| std::cmp::Reverse(route.settings.prefix.len()));
        Ok(Self(routes))
    }

    pub fn rates(&self) -> impl Iterator<Item = &Rate> {
        self.iter().filter_map(|route| route.rate.as_ref())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Outside> {
        self.0.iter()
    }

    pub fn find(&self, path: &str) -> Option<&Outside> {
        self.iter()
            .find(|route| is_below(path, &route.settings.prefix))
    }
}

impl Outside {
    fn new(app: &App, settings: Settings, spent: &Arc<Spent>) -> anyhow::Result<Self> {
        let (set, remove) = settings.headers()?;
        let streams = app.streams.child_token();
        let most = app.config.host.server.max_body_bytes;
        Ok(Self {
            upstream: Upstream::new(&*settings.name, settings.upstream(), streams)?,
            rate: Rate::per_minute(&label(&settings), settings.requests_per_minute, spent),
            networks: Lists {
                allow: settings.allow.clone(),
                deny: settings.deny.clone(),
            },
            max_body_bytes: settings.max_body_bytes.unwrap_or(most),
            set,
            remove,
            label: label(&settings),
            settings,
        })
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Does the edge answer for pages of other origins here? Else the service does, as it likes.
    pub fn is_shared(&self) -> bool {
        self.settings.cors
    }

    pub fn is_compressed(&self) -> bool {
        self.settings.compress
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    /// Answers a request by asking the service, if the caller may.
    pub async fn answer(&self, app: &App, request: Request) -> Result<Response, Problem> {
        plain(request.uri().path())?;
        let address = client(&request);
        self.networks.check(address)?;
        let mut standing = None;
        if let (Some(rate), Some(caller)) = (&self.rate, Caller::of(&request, &app.verifier)) {
            standing = Some(rate.check(&caller)?);
        }
        let token = bearer(request.headers()).map(str::to_owned);
        let caller = self.caller(app, token.as_deref()).await?;
        let mut request = bounded(request, self.max_body_bytes)?;
        self.rewrite(&mut request)?;
        let identity = caller.as_ref().map(identity).into_iter().flatten();
        let more = self.set.iter().cloned().chain(identity);
        let mut answer = forward(app, &self.upstream, request, more).await?;
        if let Some(standing) = standing {
            standing.write(answer.headers_mut(), true);
        }
        Ok(answer)
    }

    /// Who calls, verified; a token that is no good is disregarded where none is needed.
    async fn caller(&self, app: &App, token: Option<&str>) -> Result<Option<Principal>, Problem> {
        let verified = match token {
            Some(token) => Some(app.verifier.authenticate(token).await),
            None => None,
        };
        if self.settings.public {
            return Ok(verified.and_then(Result::ok));
        }
        let caller = verified.unwrap_or_else(|| Err(Problem::unauthorized()))?;
        let needs = |held: bool, what: &str, name: &str| {
            let why = || Problem::forbidden(format!("This needs the {what} {name}."));
            held.then_some(()).ok_or_else(why)
        };
        if let Some(scope) = &self.settings.require_scope {
            needs(caller.has_scope(scope), "scope", scope)?;
        }
        if let Some(role) = &self.settings.require_role {
            needs(caller.has_role(role), "role", role)?;
        }
        Ok(Some(caller))
    }

    /// Makes the request the one that the service knows.
    fn rewrite(&self, request: &mut Request) -> Result<(), Problem> {
        let headers = request.headers_mut();
        if !self.settings.pass_authorization {
            headers.remove(header::AUTHORIZATION);
        }
        for name in &self.remove {
            headers.remove(name);
        }
        let by = match &self.settings.rewrite_prefix {
            Some(by) => by,
            None if self.settings.strip_prefix => "",
            None => return Ok(()),
        };
        let uri = paths::rewritten(request.uri(), &self.settings.prefix, by);
        let unreadable = || Problem::malformed("The path cannot be passed on.");
        *request.uri_mut() = uri.ok_or_else(unreadable)?;
        Ok(())
    }
}

fn label(settings: &Settings) -> String {
    format!("route:{}", settings.name)
}

/// What the service is told of the caller.
fn identity(caller: &Principal) -> Vec<(HeaderName, HeaderValue)> {
    let (roles, scopes) = match caller {
        Principal::User { roles, scopes, .. } => (&**roles, scopes),
        Principal::Service { scopes, .. } => (&[][..], scopes),
    };
    [
        (PRINCIPAL, caller.actor()),
        (SCOPES, list(scopes)),
        (ROLES, list(roles)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
    .collect()
}

/// Separated by spaces: a name with a space in it would be two.
fn list(names: &[String]) -> String {
    let whole = |name: &&String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    let names: Vec<&str> = names.iter().filter(whole).map(String::as_str).collect();
    names.join(" ")
}
