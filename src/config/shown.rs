//! A document as it may be shown: secrets as fingerprints.

use aws_lc_rs::digest;
use toml::{Table, Value};

fn is_secret(name: &str) -> bool {
    ["password", "secret", "key", "token", "url", "credentials"]
        .iter()
        .any(|word| name == *word || name.ends_with(&format!("_{word}")))
        // Of these, a password in it is refused.
        && !["public_url", "token_url", "jwks_url"].contains(&name)
}

/// Too short to confirm a guess at a weak secret, long enough to see that two differ.
const FINGERPRINT_BYTES: usize = 4;

pub(super) fn fingerprint(table: &mut Table) {
    for (name, value) in table.iter_mut() {
        match value {
            // What is sent to another service: a key of its, as often as not.
            Value::Table(headers) if name == "set_headers" => {
                for (_, value) in headers.iter_mut() {
                    if let Value::String(text) = value {
                        *text = fingerprint_of(text);
                    }
                }
            }
            Value::Table(table) => fingerprint(table),
            Value::Array(items) => items
                .iter_mut()
                .filter_map(Value::as_table_mut)
                .for_each(fingerprint),
            Value::String(text) if is_secret(name) && !text.is_empty() => {
                *text = fingerprint_of(text);
            }
            _ => {}
        }
    }
}

fn fingerprint_of(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let shown = kernel::context::hex(&digest.as_ref()[..FINGERPRINT_BYTES]);
    format!("fingerprint:{shown}")
}
