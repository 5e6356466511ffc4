//! A lock on an address that there is no row for yet.

use sqlx::PgConnection;

use crate::domain::Email;

/// From here to the end of the transaction nobody else asks the same for the address: without it,
/// requests in parallel would all count the same few rows and exceed the bound together.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    table: &str,
    email: &Email,
) -> Result<(), sqlx::Error> {
    // Two addresses that share the 64 bits merely wait for each other.
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2, 0))",
        table,
        email.canonical()
    )
    .execute(conn)
    .await?;
    Ok(())
}
