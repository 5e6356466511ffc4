//! Where records wait to be stored.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;
use tracing::Level;

use super::{Dropped, LogRecord};

/// Records that wait to be stored, and how many were dropped because too many waited.
pub struct LogBuffer {
    records: Mutex<Vec<LogRecord>>,
    capacity: usize,
    dropped: Mutex<Dropped>,
    dropped_total: AtomicU64,
    filled: Notify,
}

impl LogBuffer {
    /// For 0 records it takes none, and counts none as dropped: nobody waits for them.
    pub fn new(capacity: usize) -> Self {
        Self {
            records: Mutex::new(Vec::new()),
            capacity,
            dropped: Mutex::default(),
            dropped_total: AtomicU64::new(0),
            filled: Notify::new(),
        }
    }

    /// Takes what waits, at most `limit` records, oldest first.
    pub fn take(&self, limit: usize) -> Vec<LogRecord> {
        let mut records = self.records.lock().expect("no holder panics");
        let count = limit.min(records.len());
        if count == records.len() {
            return std::mem::take(&mut records);
        }
        records.drain(..count).collect()
    }

    /// What was dropped since this was last asked, by service and level.
    pub fn take_dropped(&self) -> Dropped {
        std::mem::take(&mut *self.dropped.lock().expect("no holder panics"))
    }

    /// What was dropped since the process started.
    pub fn dropped_total(&self) -> u64 {
        self.dropped_total.load(Ordering::Relaxed)
    }

    /// Waits until a record arrives after the buffer was empty, or until a batch is full.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    pub fn len(&self) -> usize {
        self.records.lock().expect("no holder panics").len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push(&self, record: LogRecord) {
        if self.capacity == 0 {
            return;
        }
        // The last tenth is kept for warnings and errors: they are shed last.
        let capacity = if record.level <= Level::WARN {
            self.capacity
        } else {
            self.capacity / 10 * 9
        };
        {
            let mut records = self.records.lock().expect("no holder panics");
            if records.len() < capacity {
                records.push(record);
                if records.len() == 1 || records.len().is_multiple_of(1_000) {
                    self.filled.notify_one();
                }
                return;
            }
        }
        self.dropped_total.fetch_add(1, Ordering::Relaxed);
        *self
            .dropped
            .lock()
            .expect("no holder panics")
            .entry((record.service, record.level))
            .or_default() += 1;
    }
}
