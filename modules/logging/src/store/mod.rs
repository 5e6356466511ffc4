//! All the SQL.

pub(crate) mod audit;
mod binary_copy;
pub(crate) mod partitions;
pub(crate) mod received;
pub(crate) mod record_search;
pub(crate) mod records;
pub(crate) mod search;
pub(crate) mod verifications;
