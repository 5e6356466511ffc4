//! Tokens of services, signed with a key that only tests have.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode, jwk::Jwk};
use kernel::{Claims, token::TOKEN_TYPE};

use super::TestApp;

const KEY_ID: &str = "key of the tests";

impl TestApp {
    /// A good access token of a service, for ten minutes.
    pub fn service_token(&self, id: &str, scope: &str) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
        let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
        let mut jwk = Jwk::from_decoding_key(&public, Some(Algorithm::EdDSA)).expect("a key");
        jwk.common.key_id = Some(KEY_ID.to_owned());
        for host in &self.hosts {
            host.app.verifier.add_key(&jwk).expect("the key is added");
        }
        let app = self.edge();

        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(KEY_ID.to_owned());
        let now = app.world.now().unix_timestamp();
        let claims = Claims {
            iss: app.verifier.issuer().to_owned(),
            sub: id.to_owned(),
            aud: app.verifier.audience().to_owned(),
            exp: now + 600,
            iat: now,
            jti: app.world.uuid(),
            client_id: id.to_owned(),
            scope: scope.to_owned(),
            roles: Vec::new(),
            sid: None,
        };
        let pkcs8 = pair.to_pkcs8().expect("a key pair");
        let private = EncodingKey::from_ed_der(pkcs8.as_ref());
        encode(&header, &claims, &private).expect("a token")
    }
}
