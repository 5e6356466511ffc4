//! Signing access tokens (RFC 9068) with keys that come and go.

mod keys;

use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::JwkSet};
use kernel::{Claims, Db, Secret, SessionId, UserId, secret::Key, token::TOKEN_TYPE};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

pub(crate) use self::keys::rotate;
use crate::{
    domain::{ClientId, FIRST_PARTY, Scopes, active_key},
    store,
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    #[error("the signing keys cannot be read: {0}")]
    Database(#[from] sqlx::Error),
    #[error("signing key {0} cannot be decrypted: is secrets.master_key another than before?")]
    Undecryptable(String),
    #[error("there is no signing key")]
    NoKey,
    #[error("a token cannot be signed: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
}

/// Signs with the newest active key. Keys are held in memory and looked up again now and then,
/// several times in the life of a token: a new key is published one such life before its first
/// use, so no signer meets it late, and no token costs a statement.
pub(crate) struct Signer {
    db: Db,
    /// What the private keys are encrypted with.
    key: Key,
    issuer: String,
    audience: String,
    access_token_ttl: Duration,
    loaded: ArcSwap<Keys>,
    loading: Mutex<()>,
}

/// The keys as the database held them at a time.
pub(crate) struct Keys {
    at: OffsetDateTime,
    keys: Vec<SigningKey>,
}

struct SigningKey {
    header: Header,
    active_from: OffsetDateTime,
    private: EncodingKey,
    jwk: jsonwebtoken::jwk::Jwk,
}

/// What a token is to say.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) holder: Holder,
    pub(crate) issued_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// For whom a token is.
#[derive(Debug)]
pub(crate) enum Holder {
    User {
        user_id: UserId,
        session_id: SessionId,
        roles: Vec<String>,
    },
    Service {
        client_id: ClientId,
        scopes: Scopes,
    },
}

impl Signer {
    /// Reads the keys, of which there must be one.
    pub(crate) async fn load(
        db: Db,
        key: Key,
        issuer: &str,
        audience: &str,
        access_token_ttl: Duration,
    ) -> Result<Self, SigningError> {
        let keys = load(&db, &key).await?;
        Ok(Self {
            db,
            key,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            access_token_ttl,
            loaded: ArcSwap::from_pointee(keys),
            loading: Mutex::new(()),
        })
    }

    /// The keys, read again if it is time to. While one caller reads, the others go on with what
    /// there is, unless that is as old as a token may get: by then a key may have come into use
    /// or gone that it does not tell of.
    pub(crate) async fn keys(&self) -> Result<Arc<Keys>, SigningError> {
        let keys = self.loaded.load_full();
        let age = self.db.world().now() - keys.at;
        // A clock that was set back makes the age negative: no telling how old it is.
        let known = !age.is_negative() && age < self.access_token_ttl;
        if known && age < self.refresh_after() {
            return Ok(keys);
        }
        let _loading = if known {
            match self.loading.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(keys),
            }
        } else {
            self.loading.lock().await
        };
        // Somebody else may have read them while this one waited.
        let current = self.loaded.load_full();
        if current.at != keys.at {
            return Ok(current);
        }
        match load(&self.db, &self.key).await {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                self.loaded.store(Arc::clone(&fresh));
                Ok(fresh)
            }
            Err(error) if known => {
                tracing::warn!(
                    error = %error,
                    "signing keys could not be read again; those in memory are used"
                );
                Ok(keys)
            }
            Err(error) => Err(error),
        }
    }

    fn refresh_after(&self) -> Duration {
        self.cacheable_for().min(Duration::MINUTE)
    }

    /// How long a key set may be held by whoever fetched it, and still tell of a new key before
    /// its first use: what is served is at most as old as what is in memory.
    pub(crate) fn cacheable_for(&self) -> Duration {
        self.access_token_ttl / 3_i32
    }

    /// A signed access token.
    pub(crate) fn sign(&self, keys: &Keys, grant: Grant) -> Result<Secret, SigningError> {
        let world = self.db.world();
        let now = world.now();
        let active = active_key(keys.keys.iter().map(|key| key.active_from), now);
        let key = &keys.keys[active.ok_or(SigningError::NoKey)?];
        let mut claims = Claims {
            iss: self.issuer.clone(),
            sub: String::new(),
            aud: self.audience.clone(),
            exp: grant.expires_at.unix_timestamp(),
            iat: grant.issued_at.unix_timestamp(),
            jti: world.uuid(),
            client_id: FIRST_PARTY.to_owned(),
            scope: String::new(),
            roles: Vec::new(),
            sid: None,
        };
        match grant.holder {
            Holder::User {
                user_id,
                session_id,
                roles,
            } => {
                claims.sub = user_id.to_string();
                claims.roles = roles;
                claims.sid = Some(session_id);
            }
            // It is its own subject (RFC 9068 §2.2).
            Holder::Service { client_id, scopes } => {
                client_id.as_str().clone_into(&mut claims.sub);
                client_id.as_str().clone_into(&mut claims.client_id);
                claims.scope = scopes.joined();
            }
        }
        Ok(Secret::new(encode(&key.header, &claims, &key.private)?))
    }
}

impl Keys {
    /// The public parts of all of them: those that will sign, that sign, and that signed what is
    /// still good.
    pub(crate) fn published(&self) -> JwkSet {
        JwkSet {
            keys: self.keys.iter().map(|key| key.jwk.clone()).collect(),
        }
    }
}

async fn load(db: &Db, key: &Key) -> Result<Keys, SigningError> {
    // Before the statement: what it reads is at least that fresh.
    let at = db.world().now();
    let stored = store::signing_keys::all(&mut *db.pool().acquire().await?).await?;
    if stored.is_empty() {
        return Err(SigningError::NoKey);
    }
    let keys = stored
        .into_iter()
        .map(|stored| {
            let private = keys::decrypt(key, &stored)
                .ok_or_else(|| SigningError::Undecryptable(stored.kid.clone()))?;
            let mut header = Header::new(Algorithm::EdDSA);
            header.typ = Some(TOKEN_TYPE.to_owned());
            header.kid = Some(stored.kid);
            Ok(SigningKey {
                header,
                active_from: stored.active_from,
                private,
                jwk: stored.jwk.0,
            })
        })
        .collect::<Result<_, SigningError>>()?;
    Ok(Keys { at, keys })
}
