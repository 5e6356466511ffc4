//! The one list of modules.

use anyhow::Context;
use kernel::Module;

/// Every module of this program. A new one is a line here and two in `Cargo.toml`.
pub const MODULES: &[&dyn Module] = &[
    &identity::Module,
    &logging::Module,
    &notification::Module,
    &profile::Module,
];

/// # Errors
/// When there is none of this name.
pub fn named(name: &str) -> anyhow::Result<&'static dyn Module> {
    let mut modules = MODULES.iter().copied();
    modules
        .find(|module| module.name() == name)
        .with_context(|| {
            let names: Vec<_> = MODULES.iter().map(|module| module.name()).collect();
            format!(
                "there is no module {name:?}; there are {}",
                names.join(", ")
            )
        })
}
