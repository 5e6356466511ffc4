//! JWTs of NATS (docs.nats.io, "JWT"), as `nsc` would make them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Who answers for the server's accounts: one of the system, and one with a user.
pub(crate) struct Operator {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
        }
    }

    /// A server that knows the operator, and the accounts without asking anybody.
    pub(crate) fn configuration(&self) -> String {
        let unbounded = json!({
            "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1,
            "exports": -1, "wildcards": true, "mem_storage": -1, "disk_storage": -1,
            "streams": -1, "consumer": -1,
        });
        // The system's account has no JetStream, and may not.
        let system = json!({ "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1 });
        let token = |of: &KeyPair, kind, nats| sign(&self.operator, of, kind, nats);
        format!(
            "operator: {}\nsystem_account: {system_key}\nresolver: MEMORY\nresolver_preload: {{\n  \
             {system_key}: {}\n  {account_key}: {}\n}}\n",
            token(&self.operator, "operator", json!({})),
            token(&self.system, "account", json!({ "limits": system })),
            token(&self.account, "account", json!({ "limits": unbounded })),
            system_key = self.system.public_key(),
            account_key = self.account.public_key(),
        )
    }

    /// A file for a new user of the account.
    pub(crate) fn credentials(&self) -> String {
        let user = KeyPair::new_user();
        let limits = json!({ "subs": -1, "data": -1, "payload": -1 });
        let token = sign(&self.account, &user, "user", limits);
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed().unwrap()
        )
    }
}

fn sign(issuer: &KeyPair, subject: &KeyPair, kind: &str, mut nats: Value) -> String {
    nats["type"] = kind.into();
    nats["version"] = 2.into();
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": subject.public_key(),
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "name": kind,
        "sub": subject.public_key(),
        "nats": nats,
    });
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
