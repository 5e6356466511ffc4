//! What accounts, registrations, sessions and services are made of: types that cannot be wrong.

mod code;
mod device;
mod email;
mod password;
mod refresh_token;
mod rotation;
mod service;

pub(crate) use kernel::person::{DisplayName, Invalid, Locale, TimeZone};

pub(crate) use self::{
    code::{CodePurpose, SetupCode, VerificationCode},
    device::Device,
    email::Email,
    password::Password,
    refresh_token::RefreshToken,
    rotation::{KeyAge, RotationPlan, active_key},
    service::{ClientId, FIRST_PARTY, Scopes, ServiceSecret},
};

/// Every account holds it.
pub(crate) const USER: &str = "user";
/// May administer the installation.
pub(crate) const ADMIN: &str = "admin";
