//! What is sent when.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use kernel::{
    World,
    telemetry::{Dropped, LogBuffer, LogRecord, suppressed},
};
use spool::{Batch, Lost, Spool};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Counters, Settings,
    batch::{self, MAX_RECORDS},
    client::{Client, Outcome},
};

/// Failures in a row before they are told: processes start and stop in any order.
const TELL_AFTER: u64 = 3;

/// Ships log records until it is told to stop.
pub struct Shipper {
    settings: Settings,
    logs: Arc<LogBuffer>,
    client: Client,
    spool: Option<Arc<Mutex<Spool>>>,
    world: World,
    counters: Arc<Counters>,
    /// Taken from the buffer, and in no batch yet.
    records: VecDeque<LogRecord>,
    /// Not told to the destination yet.
    dropped: Dropped,
    next_number: u64,
    sending: Option<Sending>,
    /// Neither taken by the destination nor by the disk.
    held: Option<(u64, Batch)>,
    /// Said once.
    disk_fails: bool,
    /// Nothing is sent before.
    retry_at: Option<Instant>,
}

/// One batch at a time: they arrive in order.
struct Sending {
    number: u64,
    batch: Batch,
    spooled: bool,
    answer: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

impl Shipper {
    pub(super) fn start(
        settings: Settings,
        logs: Arc<LogBuffer>,
        client: Client,
        spool: Option<Spool>,
        world: World,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let bytes = spool.as_ref().map_or(0, Spool::bytes);
        counters.spooled_bytes.store(bytes, Ordering::Relaxed);
        Self {
            settings,
            logs,
            client,
            world,
            counters,
            records: VecDeque::new(),
            dropped: Dropped::new(),
            next_number: spool.as_ref().map_or(0, Spool::next_number),
            // What an earlier process left is sent at once.
            retry_at: (bytes > 0).then(Instant::now),
            spool: spool.map(|spool| Arc::new(Mutex::new(spool))),
            sending: None,
            held: None,
            disk_fails: false,
        }
    }

    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Ships until the token is cancelled. Then what waits is sent, as far as the time for it goes,
    /// and the rest is left on disk for the next process. Stop it last: others log while they end.
    ///
    /// What it logs itself reaches the terminal only: the news of shipping that fails must not be
    /// shipped.
    pub async fn run(self, stop: CancellationToken) {
        suppressed(self.ship(stop)).await;
    }

    async fn ship(mut self, stop: CancellationToken) {
        let logs = Arc::clone(&self.logs);
        let mut ticks = interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let retry_at = self.retry_at;
            tokio::select! {
                () = stop.cancelled() => break,
                outcome = answer(&mut self.sending) => self.settle(outcome).await,
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
                    self.retry_at = None;
                    self.send_oldest().await;
                }
                _ = ticks.tick() => self.gather().await,
                () = logs.filled() => {
                    if self.has_full_batch() {
                        self.gather().await;
                    }
                }
            }
        }
        let last_words = self.settings.last_words;
        if timeout(last_words, self.flush()).await.is_err() {
            tracing::warn!("the time to send the last log records is over");
        }
        self.leave().await;
    }

    /// Makes batches of what waits. The first is sent, if nothing is before it; others are kept.
    async fn gather(&mut self) {
        // The disk may take now what it refused before. While it does not, the buffer, which sheds the
        // least important first, is the place to wait in.
        if let Some((number, batch)) = self.held.take() {
            self.keep(number, batch).await;
            if self.held.is_some() {
                return;
            }
        }
        // A batch under way is answered soon.
        if self.sending.is_some() && !self.has_full_batch() {
            return;
        }
        while let Some((number, batch)) = self.next_batch(self.is_clear()) {
            if self.is_clear() {
                self.send(number, batch, false);
            } else {
                self.keep(number, batch).await;
            }
            if !self.has_full_batch() || self.held.is_some() {
                break;
            }
        }
    }

    fn has_full_batch(&self) -> bool {
        self.records.len() + self.logs.len() >= MAX_RECORDS
    }

    /// Is there nothing between a new batch and the destination?
    fn is_clear(&self) -> bool {
        self.sending.is_none() && self.retry_at.is_none() && self.counters.spooled_bytes() == 0
    }

    /// `notes_alone`: whether a batch may be of notes only. In a spool that is full such a batch would
    /// push out records, of which there is a note then, and so on until there are only notes.
    fn next_batch(&mut self, notes_alone: bool) -> Option<(u64, Batch)> {
        for (key, count) in self.logs.take_dropped() {
            *self.dropped.entry(key).or_default() += count;
        }
        let room = MAX_RECORDS.saturating_sub(self.records.len());
        self.records.extend(self.logs.take(room));
        if self.records.is_empty() && !notes_alone {
            return None;
        }
        let batch = batch::make(&self.world, &mut self.dropped, &mut self.records)?;
        let number = self.next_number;
        self.next_number += 1;
        Some((number, batch))
    }

    fn send(&mut self, number: u64, batch: Batch, spooled: bool) {
        let answer = Box::pin(self.client.clone().send(batch.clone()));
        self.sending = Some(Sending {
            number,
            batch,
            spooled,
            answer,
        });
    }

    /// Sends what has waited longest.
    async fn send_oldest(&mut self) {
        let spooled = match self.on_disk(Spool::first).await {
            Some(Ok(first)) => first,
            Some(Err(error)) => {
                tracing::error!(%error, "log records on disk cannot be read and wait");
                self.back_off(None);
                return;
            }
            None => None,
        };
        let before = |held: &mut (u64, Batch)| spooled.as_ref().is_none_or(|s| held.0 < s.0);
        if let Some((number, batch)) = self.held.take_if(before) {
            self.on_disk(Spool::release).await;
            self.send(number, batch, false);
        } else if let Some((number, batch)) = spooled {
            self.send(number, batch, true);
        }
    }

    async fn settle(&mut self, outcome: Outcome) {
        let Some(Sending {
            number,
            batch,
            spooled,
            ..
        }) = self.sending.take()
        else {
            return;
        };
        match outcome {
            Outcome::NotNow { why, after } => {
                if self.counters.failures.load(Ordering::Relaxed) + 1 == TELL_AFTER {
                    tracing::error!(why, "log records cannot be shipped and wait");
                }
                self.back_off(after);
                if spooled {
                    self.on_disk(Spool::release).await;
                } else {
                    self.keep(number, batch).await;
                }
                return;
            }
            Outcome::Refused(why) => {
                let records = self.count_dropped(&batch.note);
                tracing::error!(why, records, "log records were refused for good");
            }
            Outcome::Taken { rejected, reason } => {
                if rejected > 0 {
                    self.counters.dropped.fetch_add(rejected, Ordering::Relaxed);
                    tracing::error!(rejected, reason, "some log records were refused");
                }
                let sent = batch::records(&batch.note);
                self.counters
                    .shipped
                    .fetch_add(sent.saturating_sub(rejected), Ordering::Relaxed);
            }
        }
        if self.counters.failures.swap(0, Ordering::Relaxed) > 0 {
            tracing::info!("log records are shipped again");
        }
        if spooled && let Some(Err(error)) = self.on_disk(move |spool| spool.remove(number)).await {
            // It comes again, and the destination knows its id.
            tracing::error!(%error, "log records that were shipped cannot be removed from disk");
            self.back_off(None);
            return;
        }
        self.send_oldest().await;
        if self.sending.is_none() && self.has_full_batch() {
            self.gather().await;
        }
    }

    /// Puts a batch on disk.
    async fn keep(&mut self, number: u64, batch: Batch) {
        let kept = batch.clone();
        let put = move |spool: &mut Spool| {
            let mut lost = Vec::new();
            let result = spool.put(number, &kept, &mut lost);
            (result, lost)
        };
        let (result, lost) = self
            .on_disk(put)
            .await
            .unwrap_or_else(|| (Err(io::Error::other("there is no spool")), Vec::new()));
        for Lost { note } in lost {
            self.count_dropped(&note.unwrap_or_default());
        }
        let Err(error) = result else {
            self.disk_fails = false;
            return;
        };
        if !std::mem::replace(&mut self.disk_fails, true) {
            tracing::warn!(%error, "log records cannot be kept on disk and wait in memory");
        }
        if self.held.is_none() {
            self.held = Some((number, batch));
        } else {
            self.count_dropped(&batch.note);
        }
    }

    /// Exponential backoff with full jitter: what failed together does not come back together.
    fn back_off(&mut self, at_least: Option<Duration>) {
        let failures = self.counters.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let doublings = u32::try_from(failures).unwrap_or(u32::MAX).min(16);
        let ceiling = self.settings.retry_base.saturating_mul(1 << doublings);
        let ceiling = ceiling.min(self.settings.retry_max);
        let part = f64::from(self.world.below(1 << 16)) / f64::from(1 << 16);
        let pause = at_least.unwrap_or_default() + ceiling.mul_f64(part);
        self.retry_at = Some(Instant::now() + pause);
    }

    fn count_dropped(&mut self, note: &[u8]) -> u64 {
        let records = batch::records(note);
        batch::add_to(&mut self.dropped, note);
        self.counters.dropped.fetch_add(records, Ordering::Relaxed);
        records
    }

    /// Sends until nothing waits or something is not taken.
    async fn flush(&mut self) {
        loop {
            if self.sending.is_some() {
                let outcome = answer(&mut self.sending).await;
                self.settle(outcome).await;
            } else if self.retry_at.is_some() || self.held.is_some() {
                return;
            } else {
                self.gather().await;
                if self.sending.is_none() {
                    return;
                }
            }
        }
    }

    /// Leaves on disk what could not be sent.
    async fn leave(&mut self) {
        if let Some((number, batch)) = self.held.take() {
            self.keep(number, batch).await;
        }
        if let Some(Sending {
            number,
            batch,
            spooled: false,
            ..
        }) = self.sending.take()
        {
            self.keep(number, batch).await;
        }
        while !(self.records.is_empty() && self.logs.is_empty()) {
            let Some((number, batch)) = self.next_batch(false) else {
                break;
            };
            self.keep(number, batch).await;
        }
        if let Some((number, batch)) = self.next_batch(true) {
            self.keep(number, batch).await;
        }
        if let Some((_, batch)) = self.held.take() {
            self.count_dropped(&batch.note);
        }
        let lost: u64 = self.dropped.values().sum();
        if lost > 0 {
            tracing::error!(records = lost, "log records are lost with this process");
        }
    }

    /// Off the runtime: a disk may take its time. Nothing when there is no spool.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> Option<T> {
        let spool = Arc::clone(self.spool.as_ref()?);
        let counters = Arc::clone(&self.counters);
        let done = tokio::task::spawn_blocking(move || {
            let mut spool = spool.lock().expect("no holder panics");
            let result = work(&mut spool);
            let (bytes, unreadable) = (spool.bytes(), spool.set_aside());
            counters.spooled_bytes.store(bytes, Ordering::Relaxed);
            counters.unreadable.store(unreadable, Ordering::Relaxed);
            result
        });
        Some(done.await.expect("work on the spool does not panic"))
    }
}

/// Waits for the answer to the batch under way; for ever if there is none.
async fn answer(sending: &mut Option<Sending>) -> Outcome {
    match sending {
        Some(sending) => sending.answer.as_mut().await,
        None => std::future::pending().await,
    }
}
