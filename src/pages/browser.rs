//! Who a browser is: the edge exchanges the handle in its cookie for an access token, and puts that in
//! the request, as if a program had sent it. Modules verify it like any other.

use std::{num::NonZeroUsize, sync::Mutex};

use anyhow::Context;
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use kernel::{
    Principal, Problem, Secret,
    browser_session::{EXCHANGE, ExchangeRequest, ExchangeResponse, SessionCookie},
    csrf,
    mime::JSON,
    secret::token_digest,
};
use lru::LruCache;
use url::Url;

use crate::gateway::Gateway;

/// Sessions whose tokens are kept: each some hundred bytes.
const KEPT: NonZeroUsize = NonZeroUsize::new(20_000).expect("not zero");
/// A token is used no longer than until this long before it expires: it must last for the request.
const MARGIN_SECONDS: i64 = 60;
const MAX_ANSWER_BYTES: usize = 16 * 1024;

pub struct BrowserSessions {
    cookie: SessionCookie,
    tokens: Mutex<LruCache<[u8; 32], Kept>>,
}

#[derive(Clone)]
struct Kept {
    token: Secret,
    expires_at: i64,
}

/// What became of a request's cookie.
pub enum Browser {
    /// The request carries a token now.
    SignedIn(Principal),
    /// It had no cookie, or brought a token of its own.
    None,
    /// The session is over: the cookie is to go.
    Over,
}

impl Browser {
    pub fn principal(self) -> Option<Principal> {
        match self {
            Self::SignedIn(principal) => Some(principal),
            Self::None | Self::Over => None,
        }
    }
}

impl BrowserSessions {
    pub fn new(public_url: &Url) -> Self {
        Self {
            cookie: SessionCookie::new(public_url),
            tokens: Mutex::new(LruCache::new(KEPT)),
        }
    }

    fn kept(&self, digest: &[u8; 32], now: i64) -> Option<Secret> {
        let mut tokens = self.tokens.lock().expect("no holder panics");
        let kept = tokens.get(digest)?;
        (kept.expires_at - MARGIN_SECONDS > now).then(|| kept.token.clone())
    }

    fn keep(&self, digest: [u8; 32], kept: Kept) {
        let mut tokens = self.tokens.lock().expect("no holder panics");
        tokens.put(digest, kept);
    }

    fn forget(&self, digest: &[u8; 32]) {
        self.tokens.lock().expect("no holder panics").pop(digest);
    }

    /// Has the browser forget a session that is over.
    pub fn clear(&self, response: &mut Response) {
        let headers = response.headers_mut();
        // Unless the answer begins another.
        if !headers.contains_key(header::SET_COOKIE) {
            headers.insert(header::SET_COOKIE, self.cookie.clear());
        }
    }
}

impl Gateway {
    /// Finds out who a browser is. The cookie goes no further than here.
    ///
    /// # Errors
    /// When another site made the request and it could change something; when identity is down.
    pub async fn know_browser(&self, request: &mut Request) -> Result<Browser, Problem> {
        if !request.headers().contains_key(header::COOKIE) {
            return Ok(Browser::None);
        }
        let Some(handle) = self.browsers.cookie.take(request.headers_mut()) else {
            return Ok(Browser::None);
        };
        if request.headers().contains_key(header::AUTHORIZATION) {
            return Ok(Browser::None);
        }
        let public_url = &self.app.config.host.server.public_url;
        if may_change(request) && !csrf::is_same_origin(request.headers(), public_url) {
            return Err(csrf::cross_site());
        }
        let digest = token_digest(handle.expose());
        // A token that was revoked since is exchanged once more: its session may live, with other roles.
        let now = self.app.world.now().unix_timestamp();
        if let Some(token) = self.browsers.kept(&digest, now) {
            if let Ok(principal) = self.app.verifier.authenticate(token.expose()).await {
                return Ok(signed_in(request.headers_mut(), &token, principal));
            }
            self.browsers.forget(&digest);
        }
        let Some(exchanged) = self.exchange(&handle).await? else {
            return Ok(Browser::Over);
        };
        let kept = Kept {
            token: Secret::new(exchanged.access_token),
            expires_at: exchanged.expires_at,
        };
        let Ok(principal) = self.app.verifier.authenticate(kept.token.expose()).await else {
            return Ok(Browser::Over);
        };
        let browser = signed_in(request.headers_mut(), &kept.token, principal);
        self.browsers.keep(digest, kept);
        Ok(browser)
    }

    async fn exchange(&self, handle: &Secret) -> Result<Option<ExchangeResponse>, Problem> {
        let body = serde_json::to_vec(&ExchangeRequest {
            handle: handle.expose().to_owned(),
        })
        .expect("plain data");
        let request = Request::post(EXCHANGE)
            .header(header::CONTENT_TYPE, JSON)
            .header(header::HOST, "internal")
            .body(Body::from(body))
            .expect("a valid request");
        let answer = self.ask_module("identity", request).await?;
        match answer.status() {
            StatusCode::OK => {
                let bytes = to_bytes(answer.into_body(), MAX_ANSWER_BYTES).await;
                let bytes = bytes
                    .context("identity's answer is cut")
                    .map_err(Problem::internal)?;
                let exchanged = serde_json::from_slice(&bytes).map_err(Problem::internal)?;
                Ok(Some(exchanged))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                tracing::warn!(
                    http.status = status.as_u16(),
                    "identity exchanged no session"
                );
                Err(Problem::unavailable("Sessions cannot be looked up.", 2))
            }
        }
    }
}

fn signed_in(headers: &mut HeaderMap, token: &Secret, principal: Principal) -> Browser {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", token.expose())).expect("a token is ASCII");
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Browser::SignedIn(principal)
}

/// A WebSocket is opened by a GET, and any page may try.
fn may_change(request: &Request) -> bool {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    !safe || request.headers().contains_key(header::UPGRADE)
}
