//! What every search has in common.

use std::time::Duration;

use sqlx::PgConnection;

/// Bounds the statements of this transaction, and has each planned for its own parameters: filters
/// that are not given then cost nothing, and those that are find their index.
pub(crate) async fn prepare(conn: &mut PgConnection, timeout: Duration) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT set_config('statement_timeout', $1, true) AS a,
                set_config('plan_cache_mode', 'force_custom_plan', true) AS b,
                set_config('jit', 'off', true) AS c",
        timeout.as_millis().to_string()
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}
