//! How events travel: outbox, sequencer, log, inbox, and the transports that carry them.
//!
//! A transaction writes its events to its module's outbox ([`outbox`]). One leader per module moves
//! them into the module's log at dense positions ([`sequencer`]). Subscriptions read it through a
//! [`source`]: the log itself when it is in this process, else what a [`transport`] brings and, for
//! the rest, the publisher's answers. Whatever the source, the
//! [`subscriber`] drops duplicates by watermarks in the transaction of the effect, keeps the order
//! per subject, and parks what keeps failing ([`parked`]). [`lease`]s decide who may act.
//!
//! Every module has these tables in its own schema; statements are made once per schema from one
//! text ([`schema`]).

pub mod engine;
pub mod failpoint;
pub mod jobs;
pub mod lag;
pub mod lease;
pub mod log;
pub mod outbox;
pub mod parked;
pub mod place;
pub mod replay;
pub mod schema;
pub mod sequencer;
pub mod source;
pub mod subscriber;
pub mod tail;
pub mod transport;
mod trouble;
pub mod wakeup;

pub use engine::{Attached, Bus};
pub use schema::{Schema, migrator};
pub use source::Error;

use std::time::Duration;

/// What the bus waits for, and how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a holder that is silent keeps its leases.
    pub lease_ttl: Duration,
    /// Everything is looked at this often even if no call came.
    pub poll: Duration,
    /// Events handled in one transaction, at most.
    pub batch: i64,
    /// A transaction takes up no further event after this long.
    pub batch_time: Duration,
    /// A subscription to a whole log waits this long after the first new event, to handle more of
    /// them in one transaction.
    pub gather: Duration,
    /// Events moved into the log in one transaction, at most.
    pub sequencer_batch: i64,
    /// The bound of the first delay after a failure; it doubles with each.
    pub backoff_base: Duration,
    pub backoff_max: Duration,
    /// A handler that takes longer has failed.
    pub handler_timeout: Duration,
    /// An event may wait this long for what it builds on, then it is parked.
    pub defer_max: Duration,
    /// How long the log is kept.
    pub log_keep: Duration,
    /// How long ids of unordered events are remembered.
    pub inbox_ids_keep: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ttl: Duration::from_secs(5),
            poll: Duration::from_millis(250),
            batch: 256,
            batch_time: Duration::from_secs(1),
            gather: Duration::from_millis(100),
            sequencer_batch: 1_000,
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            handler_timeout: Duration::from_secs(30),
            defer_max: Duration::from_secs(3_600),
            log_keep: Duration::from_secs(30 * 24 * 3_600),
            inbox_ids_keep: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}
