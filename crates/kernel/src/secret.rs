//! Secrets: values that do not print themselves, keys derived from one master key, and sealing of
//! what must cross the bus unseen.

use std::{fmt, marker::PhantomData, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf, hmac,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroize;

use crate::clock::World;

/// A secret text: `Debug` hides it, memory is wiped when it goes.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Each call is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A 256-bit key.
#[derive(Clone)]
pub struct Key(Arc<[u8; 32]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(bytes))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA-256 of `parts`, each preceded by its length so that no two lists collide.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context
            .sign()
            .as_ref()
            .try_into()
            .expect("SHA-256 gives 32 bytes")
    }

    /// Encrypts with AES-256-GCM under a random nonce; `context` must be the same at opening.
    pub fn encrypt(&self, world: &World, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = world.bytes::<NONCE_LEN>();
        let mut out = plain.to_vec();
        self.aead()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut out,
            )
            .expect("a message of a few bytes is within the cipher's limit");
        out.splice(0..0, nonce);
        out
    }

    /// Nothing when the key, the context or the bytes are not those of the encryption.
    pub fn decrypt(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let mut body = body.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .aead()
            .open_in_place(nonce, Aad::from(context), &mut body)
            .ok()?;
        Some(plain.to_vec())
    }

    fn aead(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.bytes()).expect("the key has 32 bytes");
        LessSafeKey::new(key)
    }

    /// Tells two keys apart without showing either.
    pub fn fingerprint(&self) -> String {
        crate::context::hex(&digest::digest(&digest::SHA256, self.bytes()).as_ref()[..6])
    }
}

/// A module's keys, derived from the installation's master key (HKDF-SHA-256, RFC 5869).
#[derive(Clone, Debug)]
pub struct Secrets {
    module_key: Key,
    sealer: Sealer,
}

impl Secrets {
    /// `sealing` is shared by all modules that exchange secrets; all else is the module's own.
    pub fn for_module(master: &Key, sealing: &Key, module: &str) -> Self {
        Self {
            module_key: derive(master, module),
            sealer: Sealer {
                key: sealing.clone(),
                before: default_sealing_key(master),
            },
        }
    }

    /// The key for one purpose of this module.
    pub fn key(&self, purpose: &str) -> Key {
        derive(&self.module_key, purpose)
    }

    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

/// With which secrets are sealed where no key for that is configured.
pub fn default_sealing_key(master: &Key) -> Key {
    derive(master, "sealing")
}

/// The key for `label`, from which `key` cannot be told.
pub fn derive(key: &Key, label: &str) -> Key {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"banyan").extract(key.bytes());
    let info = [label.as_bytes()];
    let okm = prk
        .expand(&info, hkdf::HKDF_SHA256)
        .expect("32 bytes are within HKDF's limit");
    let mut bytes = [0; 32];
    okm.fill(&mut bytes)
        .expect("the length is the algorithm's own");
    Key::new(bytes)
}

/// Seals secrets into event payloads and opens them at the reader.
#[derive(Clone, Debug)]
pub struct Sealer {
    key: Key,
    /// Opens what was sealed before a key was configured: by a process that had them all.
    before: Key,
}

impl Sealer {
    /// `context` binds the secret to its place: sealed for one event, it opens in no other.
    pub fn seal<T: Serialize>(&self, world: &World, context: &str, secret: &T) -> Sealed<T> {
        let plain = serde_json::to_vec(secret).expect("secrets are plain data");
        Sealed {
            sealed: BASE64_URL_SAFE_NO_PAD.encode(self.key.encrypt(world, context, &plain)),
            content: PhantomData,
        }
    }

    pub fn open<T: for<'de> Deserialize<'de>>(
        &self,
        context: &str,
        sealed: &Sealed<T>,
    ) -> Option<T> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&sealed.sealed).ok()?;
        let plain = self.key.decrypt(context, &bytes);
        let plain = plain.or_else(|| self.before.decrypt(context, &bytes))?;
        serde_json::from_slice(&plain).ok()
    }
}

/// A secret in an event's payload: `{"sealed": "…"}`, whoever looks.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sealed<T> {
    sealed: String,
    #[serde(skip)]
    content: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

impl<T> JsonSchema for Sealed<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sealed".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A secret, sealed with AES-256-GCM for the reader (base64url).",
            "properties": { "sealed": { "type": "string" } },
            "required": ["sealed"]
        })
    }
}

/// Equal, in time that does not depend on where they differ.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A random bearer secret of 256 bits, base64url.
pub fn random_token(world: &World) -> Secret {
    Secret::new(BASE64_URL_SAFE_NO_PAD.encode(world.bytes::<32>()))
}

/// What is stored of a high-entropy token.
pub fn token_digest(token: &str) -> [u8; 32] {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .try_into()
        .expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_opens_only_with_its_key_and_context() {
        let world = World::system();
        let sealer = |master: u8, sealing: u8| {
            let (master, sealing) = (Key::new([master; 32]), Key::new([sealing; 32]));
            Secrets::for_module(&master, &sealing, "x").sealer
        };
        let (sealer, other) = (sealer(9, 1), sealer(9, 2));
        let sealed = sealer.seal(&world, "code", &"123456".to_owned());
        assert!(!serde_json::to_string(&sealed).unwrap().contains("123456"));
        assert_eq!(sealer.open("code", &sealed).as_deref(), Some("123456"));
        assert_eq!(sealer.open("other", &sealed), None);
        assert_eq!(other.open("code", &sealed), None);
    }

    #[test]
    fn what_was_sealed_before_a_key_was_configured_opens_after() {
        let (world, master) = (World::system(), Key::new([9; 32]));
        let sealer = |key: &Key| Secrets::for_module(&master, key, "x").sealer;
        let before = sealer(&default_sealing_key(&master));
        let sealed = before.seal(&world, "code", &7);
        let after = sealer(&Key::new([1; 32]));
        assert_eq!(after.open("code", &sealed), Some(7));
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        let key = Key::new([7; 32]);
        assert!(!format!("{:?}", Secrets::for_module(&key, &key, "x")).contains('7'));
    }

    #[test]
    fn modules_do_not_share_keys() {
        let master = Key::new([9; 32]);
        let a = Secrets::for_module(&master, &master, "a").key("p");
        let b = Secrets::for_module(&master, &master, "b").key("p");
        assert_ne!(a.bytes(), b.bytes());
    }
}
