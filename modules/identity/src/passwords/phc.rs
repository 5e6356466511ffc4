//! One hash: argon2id into memory that is used again, and the PHC string around it.

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use kernel::secret::constant_time_eq;

use crate::domain::Password;

const OUTPUT_BYTES: usize = 32;

/// What a hash costs (RFC 9106 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Cost {
    fn params(self) -> Params {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(OUTPUT_BYTES))
            .expect("the configuration's bounds are within the algorithm's")
    }
}

/// A stored hash is not one that this version can verify.
#[derive(Debug, thiserror::Error)]
#[error("a stored password hash cannot be read: {0}")]
pub(crate) struct UnknownHash(&'static str);

/// The working memory of one thread. Fresh memory costs a page fault per 4 KiB, a third of the
/// whole hash.
#[derive(Default)]
pub(crate) struct Scratch(Vec<Block>);

impl Scratch {
    /// glibc gives allocations back to the system one by one only above 32 MiB, the largest value
    /// that its sliding threshold takes; smaller ones stay in the process when freed. Pages that
    /// are reserved and never touched cost nothing.
    const RESERVED: usize = 33 * 1024 * 1024 / Block::SIZE;

    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0 = Vec::with_capacity(count.max(Self::RESERVED));
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }
}

/// The PHC string of a password.
pub(crate) fn hash(
    scratch: &mut Scratch,
    cost: Cost,
    salt: &[u8; 16],
    password: &Password,
) -> String {
    let params = cost.params();
    let mut output = [0; OUTPUT_BYTES];
    compute(scratch, params, salt, password, &mut output)
        .expect("a password of bounded length and a salt of 16 bytes can be hashed");
    encode(cost, salt, &output)
}

/// Is it the password? The cost is the stored hash's own.
pub(crate) fn verify(
    scratch: &mut Scratch,
    stored: &str,
    password: &Password,
) -> Result<bool, UnknownHash> {
    let stored = PasswordHash::new(stored).map_err(|_| UnknownHash("not a PHC string"))?;
    if stored.algorithm != ARGON2ID_IDENT || stored.version != Some(Version::V0x13.into()) {
        return Err(UnknownHash("another algorithm or version"));
    }
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        return Err(UnknownHash("no salt or no hash"));
    };
    let params = Params::try_from(&stored).map_err(|_| UnknownHash("its parameters"))?;
    let mut output = vec![0; expected.len()];
    compute(scratch, params, salt, password, &mut output)
        .map_err(|_| UnknownHash("its parameters"))?;
    Ok(constant_time_eq(&output, expected.as_bytes()))
}

/// Was it hashed at this cost?
pub(crate) fn has_cost(stored: &str, cost: Cost) -> bool {
    let stored = PasswordHash::new(stored).ok();
    let params = stored.and_then(|stored| Params::try_from(&stored).ok());
    params.is_some_and(|stored| {
        let of_it = (stored.m_cost(), stored.t_cost(), stored.p_cost());
        of_it == (cost.memory_kib, cost.passes, cost.lanes)
    })
}

pub(crate) fn encode(cost: Cost, salt: &[u8; 16], output: &[u8; OUTPUT_BYTES]) -> String {
    let bounded = "16 and 32 bytes are within a PHC string's bounds";
    PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(cost.params()).expect("parameters are three numbers"),
        salt: Some(Salt::new(salt).expect(bounded)),
        hash: Some(Output::new(output).expect(bounded)),
    }
    .to_string()
}

fn compute(
    scratch: &mut Scratch,
    params: Params,
    salt: &[u8],
    password: &Password,
    output: &mut [u8],
) -> argon2::Result<()> {
    let memory = scratch.blocks(params.block_count());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        password.expose().as_bytes(),
        salt,
        output,
        memory,
    )
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;
    use kernel::Secret;

    use super::*;

    fn password(text: &str) -> Password {
        Password::typed(&Secret::new(text)).expect("short enough")
    }

    #[test]
    fn memory_that_was_used_before_changes_nothing() {
        let mut used = Scratch::default();
        for memory_kib in [256, 64, 128] {
            let cost = Cost {
                memory_kib,
                passes: 2,
                lanes: 1,
            };
            for text in ["", "correct horse", "pässwort"] {
                let hashed = hash(&mut used, cost, &[7; 16], &password(text));
                let fresh = hash(&mut Scratch::default(), cost, &[7; 16], &password(text));
                assert_eq!(hashed, fresh);
                // As the library itself has it.
                let parsed = PasswordHash::new(&hashed).unwrap();
                let library = Argon2::default().verify_password(text.as_bytes(), &parsed);
                assert!(library.is_ok());
                assert!(verify(&mut used, &hashed, &password(text)).unwrap());
                assert!(!verify(&mut used, &hashed, &password("other")).unwrap());
            }
        }
    }

    #[test]
    fn the_string_says_how_it_was_made() {
        let cost = Cost {
            memory_kib: 19_456,
            passes: 2,
            lanes: 1,
        };
        let text = encode(cost, &[0; 16], &[0; 32]);
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$AAAA"),
            "{text}"
        );
    }

    #[test]
    fn foreign_hashes_are_refused_and_told_apart_from_wrong_passwords() {
        for stored in [
            "",
            "plain",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=16$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=1,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let refused = verify(&mut Scratch::default(), stored, &password("x"));
            assert!(refused.is_err(), "{stored}");
        }
    }
}
