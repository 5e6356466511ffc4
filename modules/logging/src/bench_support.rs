//! What the benchmarks measure, as it runs in production; not for other use.

use sqlx::PgPool;

use crate::verbs::verify;
pub use crate::{
    store::records::{Batch, begin_batch, copy},
    subscribers::enter,
};

/// The schema, for a database that is made to measure in.
pub fn migrations() -> &'static sqlx::migrate::Migrator {
    &crate::MIGRATOR
}

/// Verifies the whole audit trail; how many entries it has.
pub async fn verify_audit(pool: &PgPool) -> anyhow::Result<i64> {
    let scope = verify::Scope {
        from: 1,
        to: None,
        expected: None,
    };
    Ok(verify::verify(pool, scope, |_, _| {}).await?.entries)
}
