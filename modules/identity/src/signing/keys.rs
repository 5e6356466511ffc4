//! Signing keys: making, storing and retiring them.

use anyhow::Context as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use kernel::{Db, World, secret::Key};
use sqlx::types::Json;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    config::{Config, MAX_ACCESS_TOKEN_TTL},
    domain::{KeyAge, RotationPlan},
    events::{SigningKeyPublished, SigningKeyRetired},
    store::{self, signing_keys::StoredKey},
};

/// Publishes the next key and retires old ones, as far as either is due. Also makes the first.
pub(crate) async fn rotate(db: &Db, key: &Key, config: &Config) -> anyhow::Result<()> {
    let world = db.world();
    // Mostly there is nothing to do, and a look without a lock says so.
    let seen = store::signing_keys::all(&mut *db.pool().acquire().await?).await?;
    if plan(&seen, world.now(), config).is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    store::signing_keys::lock(&mut tx).await?;
    // Another instance may have done it meanwhile.
    let stored = store::signing_keys::all(&mut tx).await?;
    let now = world.now();
    let plan = plan(&stored, now, config);
    if let Some(active_from) = plan.publish_for {
        let new = generate(world, key, now, active_from)?;
        store::signing_keys::insert(&mut tx, &new).await?;
        tx.publish(&SigningKeyPublished {
            kid: new.kid.clone(),
            jwk: serde_json::to_value(&new.jwk.0)?,
            active_from,
        });
        let kid = new.kid;
        tx.after_commit(move || tracing::info!(signing_key.kid = kid, "signing key published"));
    }
    if !plan.retire.is_empty() {
        store::signing_keys::delete(&mut tx, &plan.retire).await?;
        for kid in plan.retire {
            tx.publish(&SigningKeyRetired { kid: kid.clone() });
            tx.after_commit(move || tracing::info!(signing_key.kid = kid, "signing key retired"));
        }
    }
    tx.commit().await?;
    Ok(())
}

fn plan(stored: &[StoredKey], now: OffsetDateTime, config: &Config) -> RotationPlan {
    let keys = stored
        .iter()
        .map(|key| KeyAge {
            kid: key.kid.clone(),
            active_from: key.active_from,
        })
        .collect();
    RotationPlan::make(
        keys,
        now,
        config.signing_key_rotation,
        config.access_token_ttl,
        MAX_ACCESS_TOKEN_TTL,
    )
}

/// A new Ed25519 key (RFC 8037), its private part encrypted.
fn generate(
    world: &World,
    key: &Key,
    published_at: OffsetDateTime,
    active_from: OffsetDateTime,
) -> anyhow::Result<StoredKey> {
    let seed = Zeroizing::new(world.bytes::<32>());
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).context("32 bytes are a seed")?;
    // The document wipes itself when it goes.
    let pkcs8 = pair.to_pkcs8().context("a key pair can be written down")?;
    let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
    let mut jwk = Jwk::from_decoding_key(&public, Some(Algorithm::EdDSA))?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(StoredKey {
        private_key: key.encrypt(world, &encryption_context(&kid), pkcs8.as_ref()),
        kid,
        jwk: Json(jwk),
        published_at,
        active_from,
    })
}

/// Nothing when it was encrypted with another key, or for another kid.
pub(super) fn decrypt(key: &Key, stored: &StoredKey) -> Option<EncodingKey> {
    let pkcs8 = key.decrypt(&encryption_context(&stored.kid), &stored.private_key)?;
    let pkcs8 = Zeroizing::new(pkcs8);
    // A key that does not belong to its public part would sign what nobody can verify.
    let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).ok()?;
    let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
    let jwk = Jwk::from_decoding_key(&public, Some(Algorithm::EdDSA)).ok()?;
    (jwk.algorithm == stored.jwk.algorithm).then(|| EncodingKey::from_ed_der(&pkcs8))
}

fn encryption_context(kid: &str) -> String {
    format!("signing-key:{kid}")
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Header, encode};
    use kernel::{Claims, SessionId, UserId, Verifier, token::TOKEN_TYPE};
    use uuid::Uuid;

    use super::*;

    fn stored(world: &World, key: &Key) -> StoredKey {
        generate(world, key, world.now(), world.now()).expect("a key")
    }

    #[test]
    fn a_published_key_says_what_it_is_for() {
        let world = World::system();
        let stored = stored(&world, &Key::new([1; 32]));
        let jwk = serde_json::to_value(&stored.jwk.0).unwrap();
        assert_eq!(jwk["kty"], "OKP");
        assert_eq!(jwk["crv"], "Ed25519");
        assert_eq!(jwk["alg"], "EdDSA");
        assert_eq!(jwk["use"], "sig");
        assert_eq!(jwk["kid"], stored.kid);
        assert_eq!(jwk.as_object().unwrap().len(), 6, "and nothing private");
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // Appendix A.3.
        let jwk: Jwk = serde_json::from_str(
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        )
        .unwrap();
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
        assert_eq!(thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_private_key_opens_only_in_its_own_place() {
        let world = World::system();
        let key = Key::new([1; 32]);
        let (one, other) = (stored(&world, &key), stored(&world, &key));
        assert!(decrypt(&key, &one).is_some());
        assert!(decrypt(&Key::new([2; 32]), &one).is_none());
        // Rows that somebody with write access swapped.
        let swapped = StoredKey {
            private_key: other.private_key,
            ..one
        };
        assert!(decrypt(&key, &swapped).is_none());
    }

    #[test]
    fn what_it_signs_every_verifier_accepts() {
        let world = World::system();
        let key = Key::new([1; 32]);
        let stored = stored(&world, &key);
        let verifier = Verifier::new("https://issuer.test", "banyan", world.clone());
        verifier.set_caught_up();
        verifier.add_key(&stored.jwk.0).unwrap();
        let now = world.now().unix_timestamp();
        let claims = Claims {
            iss: "https://issuer.test".to_owned(),
            sub: UserId(Uuid::from_u128(1)).to_string(),
            aud: "banyan".to_owned(),
            exp: now + 60,
            iat: now,
            jti: world.uuid(),
            client_id: "first-party".to_owned(),
            scope: String::new(),
            roles: vec!["user".to_owned()],
            sid: Some(SessionId(Uuid::from_u128(2))),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(stored.kid.clone());
        let token = encode(&header, &claims, &decrypt(&key, &stored).unwrap()).unwrap();
        assert!(verifier.verify(&token).is_ok());
    }
}
