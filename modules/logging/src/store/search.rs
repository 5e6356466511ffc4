//! What every search has in common.

use std::time::Duration;

use sqlx::PgConnection;

/// How the newest of what matches are to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Going back from the newest until the page is full, or by whatever index is better.
    GoBack,
    /// Collecting all that match, then sorting. The planner takes what matches to be spread evenly
    /// and goes back from the newest; a range of time that ended long ago is not met for long.
    Collect,
}

/// Bounds the statements of this transaction, and has each planned for its own parameters: filters
/// that are not given then cost nothing, and those that are find their index.
pub(crate) async fn prepare(
    conn: &mut PgConnection,
    timeout: Duration,
    way: Way,
) -> Result<(), sqlx::Error> {
    let index_order = match way {
        Way::GoBack => "on",
        Way::Collect => "off",
    };
    sqlx::query!(
        "SELECT set_config('statement_timeout', $1, true) AS a,
                set_config('enable_indexscan', $2, true) AS b,
                set_config('plan_cache_mode', 'force_custom_plan', true) AS c,
                set_config('jit', 'off', true) AS d",
        timeout.as_millis().to_string(),
        index_order
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}
