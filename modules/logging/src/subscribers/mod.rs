//! What the module listens to: everything.

mod audit;

pub(crate) use audit::EnterInAuditTrail;
pub use audit::enter;
