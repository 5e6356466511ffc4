//! The one list of modules.

use kernel::Module;

/// Every module of this program. A new one is a line here and two in `Cargo.toml`.
pub const MODULES: &[&dyn Module] = &[
    &identity::Module,
    &logging::Module,
    &notification::Module,
    &profile::Module,
];

pub fn named(name: &str) -> Option<&'static dyn Module> {
    MODULES.iter().copied().find(|module| module.name() == name)
}
