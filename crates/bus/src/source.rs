//! A publisher's log as its readers see it, wherever the publisher runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use kernel::{Db, Envelope};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{log::Log, schema::Schema, tail::Tail};

/// Why a log cannot be read, or told something, now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Of the network between a subscription and its publisher.
    #[error("{0}")]
    Transport(String),
    /// Somewhere there is another log of the same module: of another database.
    #[error("{0}")]
    OtherLog(String),
}

/// What was found in a stretch of the log.
#[derive(Debug)]
pub struct Page {
    /// In the order of their positions.
    pub events: Vec<Envelope>,
    /// Up to here nothing else is wanted.
    pub until: i64,
}

/// Reads one publisher's log, for one subscription or broadcast.
#[async_trait]
pub trait Source: Send + Sync {
    /// The log's end as far as it is known here. Changes when there is more.
    fn tail(&self) -> watch::Receiver<Tail>;

    /// Has another taken the place of this one?
    fn ended(&self) -> bool {
        false
    }

    /// Its reader is about to read what follows this position, or rests. What a transport holds in
    /// memory is given up then: it may be erased from the log meanwhile.
    async fn attend(&self, _after: Option<i64>) -> Result<(), Error> {
        Ok(())
    }

    /// Events after `after` up to `until`, of the topics or of all; fewer than `limit` too, when the
    /// page says how far it looked.
    async fn read(
        &self,
        after: i64,
        until: i64,
        topics: Option<&[String]>,
        limit: i64,
    ) -> Result<Page, Error>;

    /// The position before the oldest event that is still kept.
    async fn before_oldest(&self) -> Result<i64, Error>;

    /// The position before the first event of the last `lookback`.
    async fn before_recent(&self, lookback: Duration) -> Result<i64, Error>;

    /// The position of the last event, as the publisher knows it.
    async fn head(&self) -> Result<i64, Error>;

    /// The same, perhaps a little late: for readers that look often.
    async fn latest(&self) -> Result<i64, Error> {
        self.head().await
    }

    /// Where a subject's first event stands that has at least this number and lies after `after`.
    async fn find(
        &self,
        topic: &str,
        subject: &str,
        keyseq: i64,
        after: i64,
    ) -> Result<Option<i64>, Error>;

    /// Has the publisher keep what lies after `pos`. Returns the position from which on it does.
    async fn hold(&self, subscriber: &str, pos: i64) -> Result<i64, Error>;

    /// Tells the publisher how far a subscriber has come, so that it may trim. Never goes back.
    async fn acknowledge(&self, subscriber: &str, pos: i64) -> Result<(), Error>;

    /// How old the oldest event after `pos` is, in seconds since it came into the log.
    async fn age_after(&self, pos: i64) -> Result<Option<f64>, Error>;
}

/// The log of a module that runs in this process.
pub struct LocalLog {
    module: String,
    id: Uuid,
    log: Log,
    tail: watch::Sender<Tail>,
    ended: AtomicBool,
}

impl LocalLog {
    pub(crate) async fn open(db: &Db, schema: &Schema, head: i64) -> Result<Arc<Self>, Error> {
        let log = Log::new(db.bus_pool().clone(), schema);
        Ok(Arc::new(Self {
            id: log.log_id().await?,
            log,
            module: db.module().to_owned(),
            tail: watch::Sender::new(Tail::at(head)),
            ended: AtomicBool::new(false),
        }))
    }

    /// Tells it from a log of another database.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn module(&self) -> &str {
        &self.module
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The known end, to be moved by the sequencer. True when there is more.
    pub(crate) fn moved(&self, change: impl FnOnce(&mut Tail) -> bool) -> bool {
        self.tail.send_if_modified(change)
    }

    pub(crate) async fn slowest_cursor(&self) -> Result<Option<i64>, Error> {
        Ok(self.log.slowest_cursor().await?)
    }
}

#[async_trait]
impl Source for LocalLog {
    fn tail(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    async fn read(
        &self,
        after: i64,
        until: i64,
        topics: Option<&[String]>,
        limit: i64,
    ) -> Result<Page, Error> {
        Ok(self.log.read(after, until, topics, limit).await?)
    }

    async fn before_oldest(&self) -> Result<i64, Error> {
        Ok(self.log.before_oldest().await?)
    }

    async fn before_recent(&self, lookback: Duration) -> Result<i64, Error> {
        Ok(self.log.before_recent(lookback).await?)
    }

    async fn head(&self) -> Result<i64, Error> {
        Ok(self.log.head().await?)
    }

    async fn find(
        &self,
        topic: &str,
        subject: &str,
        keyseq: i64,
        after: i64,
    ) -> Result<Option<i64>, Error> {
        Ok(self.log.find(topic, subject, keyseq, after).await?)
    }

    async fn hold(&self, subscriber: &str, pos: i64) -> Result<i64, Error> {
        Ok(self.log.hold(subscriber, pos).await?)
    }

    async fn acknowledge(&self, subscriber: &str, pos: i64) -> Result<(), Error> {
        Ok(self.log.acknowledge(subscriber, pos).await?)
    }

    async fn age_after(&self, pos: i64) -> Result<Option<f64>, Error> {
        Ok(self.log.age_after(pos).await?)
    }
}
