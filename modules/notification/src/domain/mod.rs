//! Types and rules: no SQL, no network, no clock.

mod address;
mod backoff;
mod delivery;
mod locale;
mod message;
mod name;

pub(crate) use self::{
    address::MailAddress,
    backoff::Backoff,
    delivery::{Claimed, End, Outcome},
    locale::{Locale, language_tag},
    message::{Kind, Message},
    name::SafeName,
};
