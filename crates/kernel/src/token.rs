//! Access tokens (RFC 9068): every module verifies them itself, from the published key set.

use std::collections::{BTreeMap, HashMap};

use arc_swap::ArcSwap;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    clock::World,
    ids::{SessionId, UserId},
    principal::Principal,
    problem::Problem,
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

/// Verifies access tokens from memory: published keys, and a small set of what is denied.
pub struct Verifier {
    issuer: String,
    audience: String,
    world: World,
    keys: ArcSwap<HashMap<String, VerifyingKey>>,
    denied: ArcSwap<Denied>,
    /// Moves when the key set changed, for those who wait for a first one.
    changed: watch::Sender<usize>,
}

struct VerifyingKey {
    key: DecodingKey,
    jwk: Jwk,
}

/// What is refused although its signature is good. Entries go when every token they could meet has
/// expired.
#[derive(Clone, Debug, Default)]
struct Denied {
    /// Session → when the entry may go.
    sessions: BTreeMap<SessionId, i64>,
    /// Subject → (tokens issued at or before, when the entry may go).
    subjects: BTreeMap<String, (i64, i64)>,
}

impl Verifier {
    pub fn new(issuer: &str, audience: &str, world: World) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            world,
            keys: ArcSwap::default(),
            denied: ArcSwap::default(),
            changed: watch::Sender::new(0),
        }
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Adds or replaces one key.
    pub fn add_key(&self, jwk: &Jwk) -> Result<(), anyhow::Error> {
        self.merge(std::slice::from_ref(jwk))
    }

    /// Adds a published key set. Keys are added, not exchanged: one that is missing from an old
    /// answer must not be forgotten, and retired keys go by [`remove_key`](Self::remove_key).
    pub fn add_keys(&self, set: &JwkSet) -> Result<(), anyhow::Error> {
        self.merge(&set.keys)
    }

    fn merge(&self, jwks: &[Jwk]) -> Result<(), anyhow::Error> {
        let mut parsed = Vec::new();
        for jwk in jwks {
            let Some(kid) = jwk.common.key_id.clone() else {
                anyhow::bail!("a published key has no kid");
            };
            let key = DecodingKey::from_jwk(jwk)?;
            parsed.push((kid, key, jwk.clone()));
        }
        self.keys.rcu(|keys| {
            let mut keys: HashMap<_, _> = keys
                .iter()
                .map(|(kid, k)| {
                    (
                        kid.clone(),
                        VerifyingKey {
                            key: k.key.clone(),
                            jwk: k.jwk.clone(),
                        },
                    )
                })
                .collect();
            for (kid, key, jwk) in &parsed {
                let entry = VerifyingKey {
                    key: key.clone(),
                    jwk: jwk.clone(),
                };
                keys.insert(kid.clone(), entry);
            }
            keys
        });
        self.changed.send_modify(|n| *n = self.keys.load().len());
        Ok(())
    }

    pub fn remove_key(&self, kid: &str) {
        self.keys.rcu(|keys| {
            keys.iter()
                .filter(|(other, _)| *other != kid)
                .map(|(kid, k)| {
                    (
                        kid.clone(),
                        VerifyingKey {
                            key: k.key.clone(),
                            jwk: k.jwk.clone(),
                        },
                    )
                })
                .collect::<HashMap<_, _>>()
        });
        self.changed.send_modify(|n| *n = self.keys.load().len());
    }

    pub fn has_keys(&self) -> bool {
        !self.keys.load().is_empty()
    }

    /// Waits until there is a key to verify with.
    pub async fn ready(&self) {
        let mut changed = self.changed.subscribe();
        // The sender lives in self: the wait ends only by a key.
        let _ = changed.wait_for(|keys| *keys > 0).await;
    }

    /// Refuses every token of a session from now on.
    pub fn deny_session(&self, session: SessionId, until: i64) {
        let now = self.world.now().unix_timestamp();
        self.denied.rcu(|denied| {
            let mut denied = Denied::clone(denied);
            denied.forget(now);
            denied.sessions.insert(session, until);
            denied
        });
    }

    /// Refuses every token of a subject issued at or before `issued`.
    pub fn deny_subject(&self, subject: &str, issued: i64, until: i64) {
        let now = self.world.now().unix_timestamp();
        self.denied.rcu(|denied| {
            let mut denied = Denied::clone(denied);
            denied.forget(now);
            denied.subjects.insert(subject.to_owned(), (issued, until));
            denied
        });
    }

    /// The caller that the token stands for.
    pub fn verify(&self, token: &str) -> Result<Principal, Problem> {
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
                    roles: claims.roles,
                    scopes,
                })
            }
            None => Ok(Principal::Service {
                id: claims.sub,
                scopes,
            }),
        }
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        // Longer than any that we issue: not worth a signature check.
        if token.len() > 4_096 {
            return None;
        }
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
        // Expiry is checked below, against the clock that was passed in.
        validation.validate_exp = false;
        let claims = decode::<Claims>(token, &key.key, &validation).ok()?.claims;
        let now = self.world.now().unix_timestamp();
        let current = claims.exp > now && claims.iat <= now + 60;
        (current && !self.denied.load().denies(&claims)).then_some(claims)
    }
}

impl Denied {
    fn forget(&mut self, now: i64) {
        self.sessions.retain(|_, until| *until > now);
        self.subjects.retain(|_, (_, until)| *until > now);
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
