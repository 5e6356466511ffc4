//! What the module adds to the command line.

mod service;
mod user;

use kernel::Verb;

pub(crate) fn verbs() -> Vec<Verb> {
    vec![user::verb(), service::verb()]
}
