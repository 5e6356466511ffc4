//! Types and rules: no I/O, no SQL, no clock.

pub(crate) mod buckets;
pub(crate) mod chain;
pub(crate) mod level;
pub(crate) mod pattern;
pub(crate) mod query;
pub(crate) mod range;
pub(crate) mod trace;
pub(crate) mod verifier;
pub(crate) mod visible;

/// Records of one batch, at most: their ids are a block of this many.
pub(crate) const MAX_BATCH_RECORDS: usize = 8_192;
