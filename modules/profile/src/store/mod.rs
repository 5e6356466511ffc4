//! All the SQL.

pub(crate) mod profiles;
