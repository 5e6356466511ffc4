//! All the SQL.

pub(crate) mod deliveries;
pub(crate) mod erasure;
pub(crate) mod mailbox;
pub(crate) mod notifications;
pub(crate) mod operations;
pub(crate) mod preferences;
pub(crate) mod recipients;
pub(crate) mod sends;
pub(crate) mod suppressions;
#[cfg(test)]
pub(crate) mod test_database;
