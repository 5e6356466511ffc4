//! Who may do what in the database: a schema, an owner role for migrations and a runtime role for
//! each module, the migrations themselves, and the settings of pools.
//!
//! The administrator (a superuser, or on a managed PostgreSQL a role that may create roles) is
//! needed once, for [`prepare`]; everything after that signs in as one of a module's two roles. The
//! runtime role reads and writes rows of its own schema and can do nothing else.

mod error;
mod migrate;
mod name;
mod prepare;
mod roles;

use std::time::Duration;

use sqlx::{Connection, postgres::PgPoolOptions};

pub use error::{Error, Result};
pub use migrate::{migrate, migrate_copy};
pub use prepare::{ensure_prepared, prepare, prepare_script, prepare_sql};
pub use roles::{owner_role, role_password, runtime_role, scram_verifier};

/// A connection that was used within this time is taken for alive.
const RESTED: Duration = Duration::from_secs(1);

/// A module's pool of at most `max` connections.
///
/// Only a connection that has rested is tried before it is handed out (trying each costs a tenth of
/// the point reads): after a restart of the server those that rest are dead. Settings of
/// the session belong in `PgConnectOptions::options`, which travel with the sign-in, and not in
/// `after_connect`, which costs a round trip.
pub fn pool_options(max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max)
        .min_connections(0)
        // Longer than a busy moment, shorter than the time-out of the request that waits.
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                if metadata.idle_for > RESTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        // A backend holds some megabytes; a module that rests gives them back.
        .idle_timeout(Duration::from_secs(5 * 60))
        // Bounds what a backend's caches grow to, and follows a moved database name.
        .max_lifetime(Duration::from_secs(30 * 60))
}
