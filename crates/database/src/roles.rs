use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// What PostgreSQL itself uses (`scram_iterations`). The passwords made here carry 256 bits, so more
/// would only slow down signing in.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// The role that owns the module's schema and runs its migrations.
pub fn owner_role(module: &str) -> String {
    format!("banyan_{module}_owner")
}

/// The role that the module's pools sign in as.
pub fn runtime_role(module: &str) -> String {
    format!("banyan_{module}")
}

/// A role's password, derived, so that one secret in the configuration stands for all of them.
pub fn role_password(role_secret: &[u8], role: &str) -> String {
    URL_SAFE_NO_PAD.encode(keyed(role_secret, &["role password", role]))
}

/// Tells whether a role's password comes from this secret, without telling the password.
pub(crate) fn password_mark(role_secret: &[u8], role: &str) -> String {
    URL_SAFE_NO_PAD.encode(&keyed(role_secret, &["role password mark", role])[..12])
}

/// HMAC-SHA256 over the parts, each ended so that no two lists of parts are the same message.
fn keyed(secret: &[u8], parts: &[&str]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let mut output = [0; digest::SHA256_OUTPUT_LEN];
    output.copy_from_slice(context.sign().as_ref());
    output
}

/// What PostgreSQL stores of a password (RFC 5803), with a salt of its own each time. `ALTER ROLE …
/// PASSWORD` takes it in place of the password, which then appears in no script and no server log.
///
/// The password must be ASCII, as those of [`role_password`] are: others would have to be normalised
/// first (SASLprep, RFC 4013).
pub fn scram_verifier(password: &str) -> String {
    let mut salt = [0; 16];
    rand::fill(&mut salt).expect("the system has a source of randomness");
    verifier(password, &salt)
}

/// RFC 5802, section 3.
fn verifier(password: &str, salt: &[u8]) -> String {
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ITERATIONS,
        salt,
        password.as_bytes(),
        &mut salted,
    );
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_is_the_one_the_standard_example_leads_to() {
        // RFC 7677, section 3: user "user", password "pencil". The keys follow from the example's
        // proof and signature; the server accepts them (see the cases with a real one).
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = verifier("pencil", &salt);
        let (head, keys) = verifier.rsplit_once('$').unwrap();
        assert_eq!(head, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==");

        let (_, server_key) = keys.split_once(':').unwrap();
        let server_key = STANDARD.decode(server_key).unwrap();
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
             r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
             c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let key = hmac::Key::new(hmac::HMAC_SHA256, &server_key);
        assert_eq!(
            STANDARD.encode(hmac::sign(&key, message.as_bytes())),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn passwords_differ_by_role_and_secret() {
        let password = role_password(b"secret", "banyan_a");
        assert_eq!(password, role_password(b"secret", "banyan_a"));
        assert_ne!(password, role_password(b"secret", "banyan_b"));
        assert_ne!(password, role_password(b"other", "banyan_a"));
        assert_eq!(password.len(), 43);
        assert!(!password.contains(&password_mark(b"secret", "banyan_a")));
    }
}
