//! Setting another password: by whom a code was mailed, or by who knows the one before.

pub(crate) mod change;
pub(crate) mod forgot;
pub(crate) mod reset;

use kernel::{FieldError, Secret};

use crate::{domain::Password, http::error::Error};

fn parse_new(text: &Secret, words: &[&str]) -> Result<Password, Error> {
    Password::parse(text, words)
        .map_err(|invalid| Error::Invalid(vec![FieldError::new("/new_password", invalid)]))
}
