//! All the SQL.

pub(crate) mod avatars;
pub(crate) mod blobs;
pub(crate) mod profiles;

#[cfg(test)]
pub(crate) mod tests;
