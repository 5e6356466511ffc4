//! A publisher's log as a reader in another process sees it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    ANSWER_TIMEOUT, Nats,
    feed::Feed,
    window::Window,
    wire::{PageAnswer, Question},
};
use crate::{
    source::{Error, Page, Source},
    tail::Tail,
    transport::{Reader, Served},
};

/// What is new comes from the stream, by a [`Feed`]; everything else from the publisher's answers.
pub(super) struct Remote {
    nats: Arc<Nats>,
    publisher: String,
    reader: Reader,
    window: Arc<Window>,
    feed: Mutex<Option<Served>>,
}

impl Remote {
    pub(super) fn new(nats: Arc<Nats>, publisher: &str, reader: &Reader) -> Self {
        Self {
            nats,
            publisher: publisher.to_owned(),
            reader: reader.clone(),
            window: Arc::default(),
            feed: Mutex::default(),
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, question: Question) -> Result<T, Error> {
        self.nats.ask(&self.publisher, &question).await
    }

    fn is_fed(&self) -> bool {
        self.feed.lock().expect("no holder panics").is_some()
    }
}

#[async_trait]
impl Source for Remote {
    fn tail(&self) -> watch::Receiver<Tail> {
        self.window.tail()
    }

    async fn attend(&self, after: Option<i64>) -> Result<(), Error> {
        let Some(after) = after else {
            self.feed.lock().expect("no holder panics").take();
            return Ok(());
        };
        if self.is_fed() {
            return Ok(());
        }
        // What is there already is read from the log itself. When the publisher does not answer, the
        // stream may have it.
        let head = self.ask(Question::Head).await.unwrap_or(after);
        if head < after {
            return Err(Error::Transport(format!(
                "{} stands at {after}, and the log of {} ends at {head}: its database is another one, \
                 or was brought back from a backup; nothing is read until they agree",
                self.reader.name, self.publisher
            )));
        }
        self.window.open(head);
        let feed = Feed {
            nats: Arc::clone(&self.nats),
            publisher: self.publisher.clone(),
            reader: self.reader.clone(),
            window: Arc::clone(&self.window),
        };
        let task = Served::by(tokio::spawn(feed.run()));
        *self.feed.lock().expect("no holder panics") = Some(task);
        Ok(())
    }

    async fn read(
        &self,
        after: i64,
        until: i64,
        topics: Option<&[String]>,
        limit: i64,
    ) -> Result<Page, Error> {
        let until = match self.window.take(after, until, limit) {
            Ok(page) if self.reader.durable || page.events.is_empty() => return Ok(page),
            // Keys of tokens travel so: whoever gets a message into the stream must not be believed.
            // The stream says that there is something, the publisher what.
            Ok(page) => page.until,
            Err(until) => until,
        };
        let question = Question::Read {
            after,
            until,
            topics: topics.map(<[_]>::to_vec),
            limit,
        };
        let error = match self.ask(question).await {
            Ok(PageAnswer { events, until }) if until > after => {
                return Ok(Page { events, until });
            }
            // The stream is ahead of its log: something else has written to it. The next reader
            // looks whose it is.
            Ok(_) => {
                let why = format!("the stream of {} is ahead of its log", self.publisher);
                return Err(Error::Transport(why));
            }
            Err(error) => error,
        };
        if !self.reader.durable {
            return Err(error);
        }
        // The publisher is away; what the stream still has is on its way.
        let mut tail = self.window.tail();
        let more = tail.wait_for(|tail| tail.head() > after);
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, more).await;
        self.window.take(after, until, limit).map_err(|_| error)
    }

    async fn before_oldest(&self) -> Result<i64, Error> {
        self.ask(Question::BeforeOldest).await
    }

    async fn before_recent(&self, lookback: Duration) -> Result<i64, Error> {
        let seconds = lookback.as_secs_f64();
        match self.ask(Question::BeforeRecent { seconds }).await {
            Ok(pos) => Ok(pos),
            Err(error) => {
                let pos = self.nats.before_recent(&self.publisher, lookback).await?;
                pos.ok_or(error)
            }
        }
    }

    /// When the publisher is away: as far as its stream goes.
    async fn head(&self) -> Result<i64, Error> {
        match self.ask(Question::Head).await {
            Ok(head) => Ok(head),
            Err(error) => self.nats.relayed(&self.publisher).await?.ok_or(error),
        }
    }

    async fn latest(&self) -> Result<i64, Error> {
        if self.is_fed() {
            return Ok(self.window.tail().borrow().head());
        }
        self.head().await
    }

    async fn find(
        &self,
        topic: &str,
        subject: &str,
        keyseq: i64,
        after: i64,
    ) -> Result<Option<i64>, Error> {
        let question = Question::Find {
            topic: topic.to_owned(),
            subject: subject.to_owned(),
            keyseq,
            after,
        };
        self.ask(question).await
    }

    async fn hold(&self, subscriber: &str, pos: i64) -> Result<i64, Error> {
        let subscriber = subscriber.to_owned();
        self.ask(Question::Hold { subscriber, pos }).await
    }

    async fn acknowledge(&self, subscriber: &str, pos: i64) -> Result<(), Error> {
        let subscriber = subscriber.to_owned();
        self.ask(Question::Acknowledge { subscriber, pos }).await
    }

    async fn age_after(&self, pos: i64) -> Result<Option<f64>, Error> {
        self.ask(Question::AgeAfter { pos }).await
    }
}
