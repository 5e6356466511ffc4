//! Access tokens (RFC 9068): every module verifies them itself, from the published key set.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::{
    clock::World,
    ids::{SessionId, UserId},
    key_source::{KeyFetching, KeySource},
    principal::Principal,
    problem::Problem,
    secret::token_digest,
};

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    /// A user's UUID, or a service's id when there is no `sid`.
    pub sub: String,
    pub aud: String,
    /// Seconds since the epoch, as the next.
    pub exp: i64,
    pub iat: i64,
    pub jti: Uuid,
    pub client_id: String,
    /// Space-separated (RFC 8693 §4.2).
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub roles: Vec<String>,
    /// The session, for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
}

/// The `typ` of the header (RFC 9068 §2.1): an ID token is not an access token.
pub const TOKEN_TYPE: &str = "at+jwt";

/// Longer than any that we issue: not worth a signature check.
const MAX_TOKEN_BYTES: usize = 4_096;

/// Verifies access tokens from memory: published keys, and a small set of what is denied.
pub struct Verifier {
    issuer: String,
    audience: String,
    world: World,
    keys: ArcSwap<HashMap<String, VerifyingKey>>,
    /// Keys that were removed, the newest first.
    retired: Mutex<VecDeque<String>>,
    denied: RwLock<Denied>,
    /// Tokens whose signature was found good: checking one costs more than all else of a request.
    checked: Mutex<Checked>,
    /// Have the revocations of the last token lifetime been read? Before, nothing is verified: a
    /// token that was revoked must not be good again for the moment after a start.
    caught_up: watch::Sender<bool>,
    /// Moves when the key set changed, for those who wait for a first one.
    changed: watch::Sender<usize>,
    /// The second way by which keys arrive.
    fetching: Option<KeyFetching>,
    /// When a refusal was last told, in seconds since the epoch.
    told: AtomicI64,
}

#[derive(Clone)]
struct VerifyingKey {
    key: DecodingKey,
    jwk: Jwk,
    /// A key that was only ever fetched goes when no answer has it for so long. One that was told of
    /// goes when it is told to.
    until: Option<Instant>,
}

impl VerifyingKey {
    fn parse(jwk: &Jwk, until: Option<Instant>) -> Result<(String, Self), anyhow::Error> {
        let kid = jwk.common.key_id.clone();
        let kid = kid.ok_or_else(|| anyhow::anyhow!("a published key has no kid"))?;
        let (key, jwk) = (DecodingKey::from_jwk(jwk)?, jwk.clone());
        Ok((kid, Self { key, jwk, until }))
    }
}

/// By how much the clock of the process that issued a token may be ahead of ours.
const MAX_SKEW_SECONDS: i64 = 60;
const TELL_EVERY_SECONDS: i64 = 60;

/// Keys are exchanged every few weeks, and an answer that has an old one is some minutes old at most.
const MAX_RETIRED: usize = 64;

/// What is refused although its signature is good. Entries go when every token they could meet has
/// expired.
#[derive(Debug, Default)]
struct Denied {
    /// Session → when the entry may go.
    sessions: BTreeMap<SessionId, i64>,
    /// Subject → (tokens issued at or before, when the entry may go).
    subjects: BTreeMap<String, (i64, i64)>,
    /// The number of entries at which those that may go are looked for.
    sweep_at: usize,
}

impl Verifier {
    pub fn new(issuer: &str, audience: &str, world: World) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            world,
            keys: ArcSwap::default(),
            retired: Mutex::default(),
            denied: RwLock::default(),
            checked: Mutex::default(),
            caught_up: watch::Sender::new(false),
            changed: watch::Sender::new(0),
            fetching: None,
            told: AtomicI64::new(0),
        }
    }

    /// Keys are also fetched: when a token names one that is not known, and by
    /// [`follow_key_source`](Self::follow_key_source).
    pub fn with_key_source(mut self, source: Arc<dyn KeySource>) -> Self {
        self.fetching = Some(KeyFetching::new(source));
        self
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Adds or replaces one key.
    pub fn add_key(&self, jwk: &Jwk) -> Result<(), anyhow::Error> {
        self.merge(&[VerifyingKey::parse(jwk, None)?]);
        Ok(())
    }

    /// Adds a published key set. Keys are added, not exchanged: one that is missing from an old
    /// answer must not be forgotten, and retired keys go by [`remove_key`](Self::remove_key).
    pub fn add_keys(&self, set: &JwkSet) -> Result<(), anyhow::Error> {
        let parsed = set.keys.iter().map(|jwk| VerifyingKey::parse(jwk, None));
        self.merge(&parsed.collect::<Result<Vec<_>, _>>()?);
        Ok(())
    }

    /// As [`add_keys`](Self::add_keys), but keys that nobody told of are kept only for so long, and
    /// those of which no use can be made are passed over (RFC 7517 §5).
    pub(crate) fn add_fetched(&self, set: &JwkSet, until: Instant) {
        let retired = self.retired.lock().expect("no holder panics").clone();
        let parsed = |jwk| VerifyingKey::parse(jwk, Some(until)).ok();
        let current = |(kid, _): &(String, VerifyingKey)| !retired.contains(kid);
        let keys = set.keys.iter().filter_map(parsed).filter(current);
        self.merge(&keys.collect::<Vec<_>>());
    }

    fn merge(&self, parsed: &[(String, VerifyingKey)]) {
        self.change_keys(|keys| {
            for (kid, new) in parsed {
                let told_of = keys.get(kid).is_some_and(|key| key.until.is_none());
                if !told_of || new.until.is_none() {
                    keys.insert(kid.clone(), new.clone());
                }
            }
        });
    }

    /// For good: an older answer to a fetch may still have it.
    pub fn remove_key(&self, kid: &str) {
        {
            let mut retired = self.retired.lock().expect("no holder panics");
            retired.truncate(MAX_RETIRED - 1);
            retired.push_front(kid.to_owned());
        }
        self.change_keys(|keys| {
            keys.remove(kid);
        });
    }

    /// Drops keys that no answer had for long; returns how many.
    pub(crate) fn forget_stale_keys(&self, now: Instant) -> usize {
        let stale = |key: &VerifyingKey| key.until.is_some_and(|until| until <= now);
        let count = self.keys.load().values().filter(|key| stale(key)).count();
        if count > 0 {
            self.change_keys(|keys| keys.retain(|_, key| !stale(key)));
        }
        count
    }

    fn change_keys(&self, change: impl Fn(&mut HashMap<String, VerifyingKey>)) {
        self.keys.rcu(|keys| {
            let mut keys = HashMap::clone(keys);
            change(&mut keys);
            keys
        });
        self.changed.send_modify(|n| *n = self.keys.load().len());
    }

    pub(crate) fn knows_keys(&self) -> bool {
        !self.keys.load().is_empty()
    }

    /// The revocations are known up to now, and will be followed.
    pub fn set_caught_up(&self) {
        self.caught_up.send_replace(true);
    }

    pub fn is_ready(&self) -> bool {
        *self.caught_up.borrow() && !self.keys.load().is_empty()
    }

    /// Waits until tokens can be verified.
    pub async fn ready(&self) {
        let (mut caught_up, mut changed) = (self.caught_up.subscribe(), self.changed.subscribe());
        // The senders live in self: the waits end only by what they wait for.
        let _ = caught_up.wait_for(|caught_up| *caught_up).await;
        let _ = changed.wait_for(|keys| *keys > 0).await;
    }

    /// Refuses every token of a session from now on.
    pub fn deny_session(&self, session: SessionId, until: i64) {
        self.deny(until, |denied| {
            denied.sessions.insert(session, until);
        });
    }

    /// Refuses every token of a subject issued at or before `issued`. What was denied stays so,
    /// in whichever order one hears of it.
    pub fn deny_subject(&self, subject: &str, issued: i64, until: i64) {
        self.deny(until, |denied| {
            let entry = denied.subjects.entry(subject.to_owned()).or_default();
            *entry = (entry.0.max(issued), entry.1.max(until));
        });
    }

    fn deny(&self, until: i64, add: impl FnOnce(&mut Denied)) {
        let now = self.world.now().unix_timestamp();
        // Every token that it could meet has expired already.
        if until <= now {
            return;
        }
        let mut denied = self.denied.write().expect("no holder panics");
        denied.forget(now);
        add(&mut denied);
    }

    /// The caller that the token stands for. One whose key is not known is tried again when the
    /// key set was fetched, if there is a source of keys and it was not asked just before.
    pub async fn authenticate(self: &Arc<Self>, token: &str) -> Result<Principal, Problem> {
        let verified = self.verify(token);
        match &self.fetching {
            Some(fetching) if verified.is_err() && self.lacks_key_of(token) => {
                fetching.fetch(self).await;
                self.verify(token)
            }
            _ => verified,
        }
    }

    /// Fetches keys now and every few minutes; never returns, and waits for ever without a source.
    pub async fn follow_key_source(self: &Arc<Self>) {
        match &self.fetching {
            Some(fetching) => fetching.follow(self).await,
            None => std::future::pending().await,
        }
    }

    /// Is it an access token of a key that is not known, and would knowing it be of use?
    fn lacks_key_of(&self, token: &str) -> bool {
        if token.len() > MAX_TOKEN_BYTES || !*self.caught_up.borrow() {
            return false;
        }
        let Ok(header) = decode_header(token) else {
            return false;
        };
        let kid = header.kid.as_deref();
        header.typ.as_deref() == Some(TOKEN_TYPE)
            && kid.is_some_and(|kid| !self.keys.load().contains_key(kid))
    }

    /// The caller that the token stands for, by the keys that are known.
    pub fn verify(&self, token: &str) -> Result<Principal, Problem> {
        if !self.is_ready() {
            return Err(Problem::unavailable("Tokens cannot be verified yet.", 1));
        }
        let claims = self.claims(token).ok_or_else(Problem::invalid_token)?;
        let scopes = claims
            .scope
            .split(' ')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        match claims.sid {
            Some(session) => {
                let id: UserId = claims.sub.parse().map_err(|_| Problem::invalid_token())?;
                Ok(Principal::User {
                    id,
                    session,
                    roles: claims.roles.clone(),
                    scopes,
                })
            }
            None => Ok(Principal::Service {
                id: claims.sub.clone(),
                scopes,
            }),
        }
    }

    /// Whose token it is, if it was found good before and still is: at the price of a look, whatever is
    /// sent. To count by; who is let in is decided by [`authenticate`](Self::authenticate).
    pub fn recall(&self, token: &str) -> Option<Arc<Claims>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let known = self.known(&token_digest(token));
        known.filter(|claims| self.is_current(claims))
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Arc<Claims>> {
        self.checked.lock().expect("no holder panics").get(digest)
    }

    fn claims(&self, token: &str) -> Option<Arc<Claims>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let digest = token_digest(token);
        let claims = match self.known(&digest) {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.check_signature(token)?);
                let mut checked = self.checked.lock().expect("no holder panics");
                checked.insert(digest, Arc::clone(&claims));
                claims
            }
        };
        self.is_current(&claims).then_some(claims)
    }

    fn is_current(&self, claims: &Claims) -> bool {
        let now = self.world.now().unix_timestamp();
        let current = claims.exp > now && claims.iat <= now + MAX_SKEW_SECONDS;
        if claims.iat > now + MAX_SKEW_SECONDS {
            self.tell("it was issued in the future: the clocks of the processes differ");
        }
        let denied = self.denied.read().expect("no holder panics");
        current && !denied.denies(claims)
    }

    /// The claims of a token that one of our keys signed, for us; whether they are current is not
    /// looked at.
    fn check_signature(&self, token: &str) -> Option<Claims> {
        let header = decode_header(token).ok()?;
        if header.typ.as_deref() != Some(TOKEN_TYPE) {
            return None;
        }
        let keys = self.keys.load();
        let key = keys.get(header.kid.as_deref()?)?;
        // The key says which algorithm it is for; the token's header is the attacker's to choose.
        let algorithm = key.jwk.common.key_algorithm.and_then(signature_algorithm)?;
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Expiry is checked each time, against the clock that was passed in.
        validation.validate_exp = false;
        // The signature is looked at first: only tokens of our own get to the other reasons.
        match decode::<Claims>(token, &key.key, &validation) {
            Ok(token) => return Some(token.claims),
            Err(error) => match error.kind() {
                ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => self.tell(
                    "it is for another address: does server.public_url differ between the processes?",
                ),
                _ => {}
            },
        }
        None
    }

    /// Says why a token is refused that one of our keys signed: to the operator, for nobody else can
    /// do anything about it; and now and then, for every request may have one.
    fn tell(&self, why: &str) {
        let now = self.world.now().unix_timestamp();
        let last = self.told.load(Ordering::Relaxed);
        if (now - last).abs() < TELL_EVERY_SECONDS {
            return;
        }
        let ordering = Ordering::Relaxed;
        if self
            .told
            .compare_exchange(last, now, ordering, ordering)
            .is_ok()
        {
            tracing::warn!(why, "a token of this installation is refused");
        }
    }
}

/// Each half of what is remembered of checked tokens, in entries of some hundred bytes.
const CHECKED_HALF: usize = 4_096;

/// Digests of good tokens and their claims: two halves, of which the older goes when the newer is
/// full, so that tokens in use stay and memory is bounded.
#[derive(Default)]
struct Checked {
    newer: HashMap<[u8; 32], Arc<Claims>>,
    older: HashMap<[u8; 32], Arc<Claims>>,
}

impl Checked {
    fn get(&mut self, digest: &[u8; 32]) -> Option<Arc<Claims>> {
        if let Some(claims) = self.newer.get(digest) {
            return Some(Arc::clone(claims));
        }
        let claims = self.older.remove(digest)?;
        self.insert(*digest, Arc::clone(&claims));
        Some(claims)
    }

    fn insert(&mut self, digest: [u8; 32], claims: Arc<Claims>) {
        if self.newer.len() >= CHECKED_HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(digest, claims);
    }
}

impl Denied {
    /// Drops what may go, now and then: a look at every entry for each new one would be too much.
    fn forget(&mut self, now: i64) {
        if self.sessions.len() + self.subjects.len() < self.sweep_at {
            return;
        }
        self.sessions.retain(|_, until| *until > now);
        self.subjects.retain(|_, (_, until)| *until > now);
        self.sweep_at = 1_024 + 2 * (self.sessions.len() + self.subjects.len());
    }

    fn denies(&self, claims: &Claims) -> bool {
        claims
            .sid
            .is_some_and(|sid| self.sessions.contains_key(&sid))
            || self
                .subjects
                .get(&claims.sub)
                .is_some_and(|(issued, _)| claims.iat <= *issued)
    }
}

fn signature_algorithm(algorithm: jsonwebtoken::jwk::KeyAlgorithm) -> Option<Algorithm> {
    use jsonwebtoken::jwk::KeyAlgorithm as K;
    match algorithm {
        K::EdDSA => Some(Algorithm::EdDSA),
        K::ES256 => Some(Algorithm::ES256),
        K::RS256 => Some(Algorithm::RS256),
        // Symmetric algorithms would let every verifier issue tokens.
        _ => None,
    }
}
