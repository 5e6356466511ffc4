//! All the SQL.

pub(crate) mod registrations;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod setup_codes;
pub(crate) mod signing_keys;
pub(crate) mod users;
