//! Signing in: with a password, or with a code that is mailed.

pub(crate) mod code;
pub(crate) mod password;
pub(crate) mod verify_code;
