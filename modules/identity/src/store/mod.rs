//! All the SQL.

pub(crate) mod address_lock;
pub(crate) mod administration;
pub(crate) mod codes;
pub(crate) mod failures;
pub(crate) mod familiar_clients;
pub(crate) mod registrations;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod setup_codes;
pub(crate) mod signing_keys;
pub(crate) mod users;
