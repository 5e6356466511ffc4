//! Timed work. Each job does a bounded amount and may run twice at once, on any instance.

mod end_expired_sessions;
mod purge_expired;
mod rotate_signing_keys;

use std::sync::Arc;

use kernel::{Db, Job, secret::Key};

use crate::config::Config;

/// Batches of one run: what is left over waits for the next.
const MAX_BATCHES: usize = 100;

pub(crate) fn jobs(db: &Db, signing_keys: &Key, config: &Config) -> Vec<Job> {
    vec![
        Job {
            name: "rotate_signing_keys",
            // Hourly: a key is due for days, and one that is published late is activated as late.
            schedule: "0 23 * * * *",
            run: Arc::new(rotate_signing_keys::RotateSigningKeys {
                db: db.clone(),
                key: signing_keys.clone(),
                config: config.clone(),
            }),
        },
        Job {
            name: "purge_expired",
            schedule: "10 */10 * * * *",
            run: Arc::new(purge_expired::PurgeExpired {
                db: db.clone(),
                failures_memory: config.guesses.pauses.memory,
                familiar_client_memory: config.familiar_client_memory,
            }),
        },
        Job {
            name: "end_expired_sessions",
            schedule: "40 */5 * * * *",
            run: Arc::new(end_expired_sessions::EndExpiredSessions { db: db.clone() }),
        },
    ]
}
