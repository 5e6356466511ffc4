//! The published language: what each module tells the others, and nothing of how it works.
//!
//! One file per publisher, one Rust type per event and version. Fields are added as `Option` or
//! with a default, never changed or taken away; a breaking change is a new version beside the old
//! one. `tests/app/contracts.rs` compares every type with its snapshot and refuses anything else.

pub mod bus;
pub mod identity;
pub mod notification;
pub mod profile;

/// Implements [`kernel::Event`] for a payload.
macro_rules! event {
    ($name:ident, $type:literal, $summary:literal, $subject:expr) => {
        event!($name, $type, $summary, $subject, ordered: true);
    };
    ($name:ident, $type:literal, $summary:literal, $subject:expr, ordered: $ordered:literal) => {
        impl kernel::Event for $name {
            const TYPE: &'static str = $type;
            const SUMMARY: &'static str = $summary;
            const ORDERED: bool = $ordered;
            fn subject(&self) -> String {
                let subject: fn(&Self) -> String = $subject;
                subject(self)
            }
        }
    };
}
pub(crate) use event;
