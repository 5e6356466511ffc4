//! One-time codes that people type.

use kernel::{World, secret::Key};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Longer input is no code, however much of it is dashes.
const MAX_TYPED_BYTES: usize = 64;

/// What a mailed code is good for, beside proving the address of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodePurpose {
    SignIn,
    PasswordReset,
}

impl CodePurpose {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::PasswordReset => "password_reset",
        }
    }
}

/// Six digits that prove an address. A million possibilities hold only because guesses are
/// counted, and only under a key: whoever read the digests alone would try them all.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct VerificationCode(String);

impl VerificationCode {
    const DIGITS: usize = 6;

    pub(crate) fn random(world: &World) -> Self {
        Self(format!("{:06}", world.below(1_000_000)))
    }

    /// Mail programs and people put spaces and dashes between digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let code = typed(text)?;
        let digits = code.len() == Self::DIGITS && code.bytes().all(|b| b.is_ascii_digit());
        digits.then_some(Self(code))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it: good for one registration, or one request for a code, only.
    pub(crate) fn digest(&self, key: &Key, id: Uuid) -> [u8; 32] {
        key.mac(&[id.as_bytes(), self.0.as_bytes()])
    }
}

/// The code that lets the first administrator be made: 80 random bits, so that guessing is
/// hopeless without any counting, in an alphabet that can be read out and typed (Crockford's).
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SetupCode(String);

impl SetupCode {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const CHARS: usize = 16;

    pub(crate) fn random(world: &World) -> Self {
        // 256 is a multiple of 32: five bits of each byte are uniform.
        let code = world
            .bytes::<{ Self::CHARS }>()
            .map(|byte| char::from(Self::ALPHABET[usize::from(byte % 32)]));
        Self(code.iter().collect())
    }

    /// Letters in either case, and the ones that are taken for digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let code: String = typed(text)?
            .chars()
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            })
            .collect();
        let well_formed =
            code.len() == Self::CHARS && code.bytes().all(|byte| Self::ALPHABET.contains(&byte));
        well_formed.then_some(Self(code))
    }

    /// In groups of four, for the person at the terminal.
    pub(crate) fn grouped(&self) -> String {
        let groups: Vec<&str> = (0..Self::CHARS)
            .step_by(4)
            .map(|at| &self.0[at..at + 4])
            .collect();
        groups.join("-")
    }

    pub(crate) fn digest(&self, key: &Key) -> [u8; 32] {
        key.mac(&[self.0.as_bytes()])
    }
}

fn typed(text: &str) -> Option<String> {
    (text.len() <= MAX_TYPED_BYTES).then(|| {
        text.chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kernel::{SeededRandom, SystemClock};
    use proptest::prelude::*;

    use super::*;

    fn world(seed: u64) -> World {
        World {
            clock: Arc::new(SystemClock),
            random: Arc::new(SeededRandom::new(seed)),
        }
    }

    #[test]
    fn verification_codes_are_six_digits() {
        for (text, code) in [
            ("123456", Some("123456")),
            (" 123 456\n", Some("123456")),
            ("123-456", Some("123456")),
            ("000000", Some("000000")),
            ("", None),
            ("12345", None),
            ("1234567", None),
            ("12345a", None),
            ("١٢٣٤٥٦", None),
        ] {
            let parsed = VerificationCode::parse(text);
            assert_eq!(parsed.as_ref().map(|c| c.expose()), code, "{text:?}");
        }
        assert!(VerificationCode::parse(&format!("123456{}", " ".repeat(99))).is_none());
    }

    #[test]
    fn a_code_is_good_for_its_registration_only() {
        let key = Key::new([3; 32]);
        let code = VerificationCode::parse("123456").unwrap();
        let other = VerificationCode::parse("123457").unwrap();
        let [a, b] = [1, 2].map(Uuid::from_u128);
        assert_eq!(code.digest(&key, a), code.digest(&key, a));
        assert_ne!(code.digest(&key, a), code.digest(&key, b));
        assert_ne!(code.digest(&key, a), other.digest(&key, a));
        assert_ne!(code.digest(&key, a), code.digest(&Key::new([4; 32]), a));
    }

    proptest! {
        #[test]
        fn codes_survive_being_typed(seed: u64) {
            let world = world(seed);
            let code = VerificationCode::random(&world);
            let again = VerificationCode::parse(code.expose());
            prop_assert_eq!(again.as_ref().map(|c| c.expose()), Some(code.expose()));

            let code = SetupCode::random(&world);
            let sloppy = code.grouped().to_lowercase().replace('0', "o").replace('1', "l");
            let again = SetupCode::parse(&sloppy).unwrap();
            prop_assert_eq!(&again.0, &code.0);
            prop_assert_eq!(code.grouped().len(), 19);
        }

        #[test]
        fn nothing_typed_panics(text in "\\PC{0,80}") {
            let _ = (VerificationCode::parse(&text), SetupCode::parse(&text));
        }
    }
}
