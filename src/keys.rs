//! How this process learns which tokens are good: keys, endings of sessions and what becomes of
//! services, as identity publishes them, reach its verifier as a broadcast. Keys may also be fetched.

use std::{sync::Arc, time::Duration};

use contracts::identity::{
    self, RoleRevoked, ServiceDisabled, ServiceSecretRotated, SessionEnded, SigningKeyPublished,
    SigningKeyRetired,
};
use kernel::{Broadcast, Envelope, Event, EventBus, Verifier, World};

use crate::{app::App, config::Config, http_client, jwks::JwksEndpoint};

/// No access token lives longer: what ended before then has no token left to be met.
const LOOKBACK: Duration = Duration::from_secs(3_600);

/// How long to wait for identity before asking again.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A verifier that nobody has told of anything yet. Where identity is in another process, it also
/// fetches keys.
pub fn verifier(config: &Config, audience: &str, world: &World) -> Verifier {
    let host = &config.host;
    let issuer = host.server.public_url.as_str().trim_end_matches('/');
    let verifier = Verifier::new(issuer, audience, world.clone());
    match config.jwks_url() {
        Some(url) => {
            let endpoint = JwksEndpoint::new(url, http_client::client());
            verifier.with_key_source(Arc::new(endpoint))
        }
        None => verifier,
    }
}

/// Follows identity's events, as soon as its log can be read.
pub async fn follow(app: &App) {
    let mut pause = PAUSE;
    while let Err(error) = try_follow(app).await {
        tracing::debug!(
            error = format!("{error:#}"),
            "tokens cannot be verified yet"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The same, once.
pub async fn try_follow(app: &App) -> anyhow::Result<()> {
    let verifier = Arc::clone(&app.verifier);
    let broadcast = Broadcast {
        name: "token_verification",
        publisher: identity::PUBLISHER.to_owned(),
        types: &[
            SigningKeyPublished::TYPE,
            SigningKeyRetired::TYPE,
            SessionEnded::TYPE,
            RoleRevoked::TYPE,
            ServiceSecretRotated::TYPE,
            ServiceDisabled::TYPE,
        ],
        lookback: LOOKBACK,
        handler: Arc::new(move |event| {
            if let Err(error) = apply(&verifier, event) {
                tracing::error!(event.id = %event.id, %error, "broadcast cannot be applied");
            }
        }),
    };
    app.bus.broadcast(broadcast).await?;
    app.verifier.set_caught_up();
    Ok(())
}

fn apply(verifier: &Verifier, event: &Envelope) -> anyhow::Result<()> {
    let data = event.data.get();
    match &*event.event_type {
        SigningKeyPublished::TYPE => {
            let published: SigningKeyPublished = serde_json::from_str(data)?;
            verifier.add_key(&serde_json::from_value(published.jwk)?)?;
        }
        SigningKeyRetired::TYPE => {
            let retired: SigningKeyRetired = serde_json::from_str(data)?;
            verifier.remove_key(&retired.kid);
        }
        SessionEnded::TYPE => {
            let ended: SessionEnded = serde_json::from_str(data)?;
            verifier.deny_session(ended.session_id, ended.tokens_expire_at.unix_timestamp());
        }
        RoleRevoked::TYPE => {
            let revoked: RoleRevoked = serde_json::from_str(data)?;
            verifier.deny_subject(
                &revoked.user_id.to_string(),
                revoked.tokens_revoked_until.unix_timestamp(),
                revoked.tokens_expire_at.unix_timestamp(),
            );
        }
        ServiceSecretRotated::TYPE => {
            let rotated: ServiceSecretRotated = serde_json::from_str(data)?;
            if let Some(revoked) = rotated.tokens_revoked_until {
                verifier.deny_subject(
                    &rotated.client_id,
                    revoked.unix_timestamp(),
                    rotated.tokens_expire_at.unix_timestamp(),
                );
            }
        }
        ServiceDisabled::TYPE => {
            let disabled: ServiceDisabled = serde_json::from_str(data)?;
            // Every token, whatever the clock of the instance that issued it said.
            let until = disabled.tokens_expire_at.unix_timestamp();
            verifier.deny_subject(&disabled.client_id, until, until);
        }
        _ => {}
    }
    Ok(())
}
