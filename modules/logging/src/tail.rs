//! The live tail: telling that records were stored, on the bus's ephemeral lane, and places for those who
//! listen.
//!
//! A hint names a batch: who listens reads its records with their own filter. So nobody reads what nobody
//! asked for, records go by the order of storing and not by their clocks, and it works across instances.
//! A hint that is lost is a gap; one that a slow listener missed is counted and told.

use std::sync::Arc;

use kernel::{Db, Hint, Tx, telemetry::LogRecord};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{domain::range::TimeRange, store::records::Batch};

const TOPIC: &str = "logging.records";

/// Records that were stored together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Their ids are of this block.
    pub(crate) block: i64,
    pub(crate) records: u64,
    /// All of them lie in it.
    pub(crate) range: TimeRange,
}

/// Tells of a batch once it is committed.
pub(crate) fn announce(tx: &mut Tx, db: &Db, batch: &Batch, records: &[LogRecord]) {
    if let Some(stored) = Stored::new(batch, records) {
        let bus = Arc::clone(db.bus());
        tx.after_commit(move || bus.hint(stored.hint()));
    }
}

impl Stored {
    fn new(batch: &Batch, records: &[LogRecord]) -> Option<Self> {
        let times = records
            .iter()
            .map(|record| batch.filed_under(record.time).0);
        let (from, to) = (times.clone().min()?, times.max()?);
        Some(Self {
            block: batch.block,
            records: u64::try_from(records.len()).ok()?,
            range: TimeRange {
                from,
                to: to.saturating_add(time::Duration::SECOND),
            },
        })
    }

    fn hint(&self) -> Hint {
        let TimeRange { from, to } = self.range;
        let (from, to) = (from.unix_timestamp(), to.unix_timestamp() + 1);
        Hint {
            topic: TOPIC.to_owned(),
            key: format!("{} {} {from} {to}", self.block, self.records),
        }
    }

    /// What a hint says, if it is one of these.
    pub(crate) fn of(hint: &Hint) -> Option<Self> {
        if hint.topic != TOPIC {
            return None;
        }
        let mut parts = hint.key.split(' ');
        let mut next = || parts.next()?.parse::<i64>().ok();
        let (block, records, from, to) = (next()?, next()?, next()?, next()?);
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        Some(Self {
            block,
            records: u64::try_from(records).ok()?,
            range: TimeRange {
                from: at(from)?,
                to: at(to)?,
            },
        })
    }
}

/// Live tails of this process, as many as it may have.
#[derive(Clone)]
pub(crate) struct Tails(Arc<Semaphore>);

impl Tails {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max)))
    }

    /// A place, until it is dropped.
    pub(crate) fn join(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_hint_tells_what_was_stored() {
        let from = datetime!(2026-05-02 12:00:00.5 UTC);
        let stored = Stored {
            block: 7,
            records: 3,
            range: TimeRange {
                from,
                to: from + time::Duration::SECOND,
            },
        };
        let told = Stored::of(&stored.hint()).unwrap();
        assert_eq!((told.block, told.records), (7, 3));
        assert!(told.range.from <= stored.range.from && told.range.to >= stored.range.to);
        for (topic, key) in [
            ("notification.inbox", "7 3 1 2"),
            (TOPIC, "7 3 1"),
            (TOPIC, "x y z 1"),
        ] {
            let hint = Hint {
                topic: topic.to_owned(),
                key: key.to_owned(),
            };
            assert_eq!(Stored::of(&hint), None);
        }
    }
}
