//! The subscriber's side: what is new in a publisher's stream is put into a reader's window.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    Message,
    consumer::{AckPolicy, Consumer, DeliverPolicy, pull},
    stream::Stream,
};
use futures::StreamExt;
use kernel::{Envelope, event::topic_of};

use super::{
    Nats,
    stream::{self, Last},
    transport,
    window::{Arrived, Window},
    wire::{self, PageAnswer, Question},
};
use crate::{source::Error, transport::Reader, trouble::Trouble};

/// How long the server keeps a request for messages. When it brings none, the publisher is asked
/// whether there should have been some: consumers have been seen to fall silent.
const PULL_FOR: Duration = Duration::from_secs(5);
/// Messages taken over at once.
const CHUNK: usize = 256;
/// The wait after a failure, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A reader that is gone without a word leaves its consumer for so long.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Fills a window.
pub(super) struct Feed {
    pub(super) nats: Arc<Nats>,
    pub(super) publisher: String,
    pub(super) reader: Reader,
    pub(super) window: Arc<Window>,
}

impl Feed {
    /// Goes on until it is dropped.
    pub(super) async fn run(self) {
        let mut trouble = Trouble::of(format!(
            "the stream of {} does not reach {}",
            self.publisher, self.reader.name
        ));
        let mut pause = PAUSE;
        loop {
            let before = self.window.last();
            let error = match self.follow().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            trouble.tell(Some(&error));
            if self.window.last() > before {
                pause = PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            // Meanwhile the log itself may be read.
            let _ = self.look().await;
        }
    }

    /// Follows the stream until something has changed about it.
    async fn follow(&self) -> Result<std::convert::Infallible, Error> {
        let mut connections = self.nats.connections.clone();
        connections.mark_unchanged();
        let stream = self.nats.find_stream(&self.publisher).await?;
        let stream = stream.ok_or_else(|| transport("the publisher has not made it yet"))?;
        let consumer = self.consumer(&stream).await?;
        loop {
            let room = self.window.room().await;
            let messages = consumer
                .batch()
                .max_messages(room)
                .expires(PULL_FOR)
                .messages()
                .await
                .map_err(transport)?;
            let mut chunks = messages.ready_chunks(CHUNK);
            let mut any = false;
            loop {
                let chunk = tokio::select! {
                    chunk = chunks.next() => chunk,
                    _ = connections.changed() => return Err(transport("connected anew")),
                };
                let Some(chunk) = chunk else { break };
                let mut arrived = Vec::with_capacity(chunk.len());
                for message in chunk {
                    arrived.push(self.read(&message.map_err(transport)?)?);
                }
                any = true;
                self.window.put(arrived);
            }
            if !any && self.look().await? {
                return Err(transport("it is behind its log"));
            }
        }
    }

    /// Asks the publisher how far its log goes. True when the stream is behind.
    async fn look(&self) -> Result<bool, Error> {
        let head = self.nats.ask(&self.publisher, &Question::Head).await?;
        Ok(self.window.seen(head))
    }

    /// Begins where the window ends. Positions are kept with the effects, so the consumer needs no
    /// acknowledgements, which would be a second truth; it is made anew by each who takes over.
    async fn consumer(&self, stream: &Stream) -> Result<Consumer<pull::Config>, Error> {
        let end = stream::end(stream).await?;
        if let Some(last) = &end.last
            && !self.is_of_log(last).await
        {
            return Err(transport("it is of another log"));
        }
        let name = self.reader.name.replace('.', "-");
        let durable = self.reader.durable.then(|| name.clone());
        if durable.is_some() {
            // There may be none.
            let _ = stream.delete_consumer(&name).await;
        }
        let config = pull::Config {
            durable_name: durable,
            description: Some(format!("{} reads {}", self.reader.name, self.publisher)),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: end.start_after(self.window.last()),
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: match self.reader.durable {
                true => Duration::ZERO,
                false => FORGET_AFTER,
            },
            ..pull::Config::default()
        };
        stream.create_consumer(config).await.map_err(transport)
    }

    /// When the publisher's database was brought back from a backup, the stream is of a log that is no
    /// more, until the relay makes it anew. A publisher that is away cannot tell.
    async fn is_of_log(&self, last: &Last) -> bool {
        let read = Question::Read {
            after: last.pos - 1,
            until: last.pos,
            topics: None,
            limit: 1,
        };
        let page = self.nats.ask::<PageAnswer>(&self.publisher, &read).await;
        let head = self.nats.ask(&self.publisher, &Question::Head).await;
        match (page, head) {
            (Ok(page), Ok(head)) => last.is_of(page.events.first(), head),
            _ => true,
        }
    }

    fn read(&self, message: &Message) -> Result<Arrived, Error> {
        let headers = message.headers.as_ref();
        let pos = wire::pos_of(headers)
            .ok_or_else(|| transport("a message has no position: something else writes there"))?;
        if headers.is_some_and(|headers| headers.get(wire::GONE).is_some()) {
            return Ok(Arrived {
                pos,
                event: None,
                topic: String::new(),
            });
        }
        let envelope: Envelope = serde_json::from_slice(&message.payload).map_err(transport)?;
        let topic = topic_of(&envelope.event_type).to_owned();
        let topics = self.reader.topics.as_ref();
        let wanted = topics.is_none_or(|topics| topics.contains(&topic));
        Ok(Arrived {
            pos,
            event: wanted.then_some(envelope),
            topic,
        })
    }
}
