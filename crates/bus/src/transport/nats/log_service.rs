//! Questions about a publisher's log, asked by request and reply: by new subscriptions and replays,
//! and for what the stream does not have.

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, Message, RequestErrorKind, client::RequestError};
use futures::{StreamExt, stream::select};
use kernel::Envelope;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Nats, transport,
    wire::{self, PageAnswer, Question},
};
use crate::{
    source::{Error, LocalLog, Page, Source},
    transport::Served,
};

/// Time for a look at the stream; a broker that is away must not keep a module from starting.
const LOOK: Duration = Duration::from_secs(1);
/// Questions that are answered at once; more wait.
const CONCURRENT: usize = 8;
/// An answer must fit into a message, of which a server takes 1 MiB by default. One event has a
/// quarter of it at most.
const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// No reader asks for more events at once.
const MAX_LIMIT: i64 = 10_000;

/// Answers for a log in this process. All processes that host the module share the questions.
pub(super) async fn serve(nats: &Arc<Nats>, log: Arc<LocalLog>) -> Result<Served, Error> {
    // Not beside a process that answers from another database. When the broker is away, the relay
    // finds out.
    let looked = tokio::time::timeout(LOOK, nats.stream_of(&log)).await;
    if let Ok(Err(error @ Error::OtherLog(_))) = looked {
        return Err(error);
    }
    let subject = wire::log_subject(&nats.settings, log.module());
    let listen = async |subject| {
        let questions = nats.client.queue_subscribe(subject, "log".to_owned());
        questions.await.map_err(transport)
    };
    let cursors = listen(format!("{subject}.*")).await?;
    let questions = select(listen(subject).await?, cursors);
    let nats = Arc::clone(nats);
    Ok(Served::by(tokio::spawn(async move {
        questions
            .for_each_concurrent(CONCURRENT, |question| answer(&nats, &log, question))
            .await;
    })))
}

async fn answer(nats: &Nats, log: &LocalLog, message: Message) {
    let Some(reply) = message.reply else { return };
    // To a stream, or to the server itself, an answer would be a message in our name.
    if reply.starts_with('$') || reply.starts_with(&format!("{}.", nats.settings.prefix)) {
        let module = log.module();
        tracing::warn!(module, %reply, "a question wants its answer where none belongs");
        return;
    }
    let answer = match serde_json::from_slice(&message.payload) {
        Ok(question) if !may_ask(nats, log, &message.subject, &question) => Err(Error::Transport(
            "a subscription is spoken for by its own module".to_owned(),
        )),
        Ok(question) => answer_to(log, question).await,
        Err(error) => Err(Error::Transport(format!(
            "a question that is not understood: {error}"
        ))),
    };
    let sent = match answer {
        Ok(payload) => nats.client.publish(reply, payload.into()).await,
        Err(error) => {
            tracing::debug!(%error, module = log.module(), "a question about the log failed");
            // The cause stays here: it may tell of the database.
            let why = match error {
                Error::Transport(why) | Error::OtherLog(why) => why,
                Error::Database(_) => "the publisher's database does not answer".to_owned(),
            };
            let mut headers = HeaderMap::new();
            headers.insert(wire::ERROR, why);
            let nothing = Default::default();
            nats.client
                .publish_with_headers(reply, headers, nothing)
                .await
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer about the log could not be sent");
    }
}

/// Everybody who may ask at all may read. How far a subscription is, is told on its module's subject,
/// to which the others have no right.
fn may_ask(nats: &Nats, log: &LocalLog, subject: &str, question: &Question) -> bool {
    match question.subscriber() {
        None => true,
        Some(subscriber) => {
            subject == wire::cursor_subject(&nats.settings, log.module(), subscriber)
        }
    }
}

async fn answer_to(log: &LocalLog, question: Question) -> Result<Vec<u8>, Error> {
    Ok(match question {
        Question::Read {
            after,
            until,
            topics,
            limit,
        } => {
            let limit = limit.clamp(1, MAX_LIMIT);
            // Who asks beyond the end is told where it is: nothing is known of what follows.
            let known = log.tail().borrow().head();
            let until = match known {
                head if until <= head => until,
                _ => until.min(log.head().await?),
            };
            let page = log.read(after, until, topics.as_deref(), limit).await?;
            json(&fitting(page))
        }
        Question::BeforeOldest => json(&log.before_oldest().await?),
        Question::BeforeRecent { seconds } => {
            let lookback = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            json(&log.before_recent(lookback).await?)
        }
        Question::Head => json(&log.head().await?),
        Question::Find {
            topic,
            subject,
            keyseq,
            after,
        } => json(&log.find(&topic, &subject, keyseq, after).await?),
        Question::Hold { subscriber, pos } => json(&log.hold(&subscriber, pos).await?),
        Question::Acknowledge { subscriber, pos } => {
            log.acknowledge(&subscriber, pos).await?;
            json(&())
        }
        Question::AgeAfter { pos } => json(&log.age_after(pos).await?),
    })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers are plain data")
}

/// As much of the page as fits into an answer: at least one event.
fn fitting(page: Page) -> PageAnswer {
    let Page { mut events, until } = page;
    let mut bytes = 0;
    let fits = |event: &Envelope| {
        bytes += event.data.get().len() + event.subject.len() + 1_024;
        bytes <= MAX_ANSWER_BYTES
    };
    let count = events.iter().map(fits).take_while(|fits| *fits).count();
    if count == events.len() {
        return PageAnswer { events, until };
    }
    events.truncate(count.max(1));
    let until = events.last().map_or(until, |last| last.pos);
    PageAnswer { events, until }
}

impl Nats {
    /// Asks a publisher.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        publisher: &str,
        question: &Question,
    ) -> Result<T, Error> {
        let subject = match question.subscriber() {
            None => wire::log_subject(&self.settings, publisher),
            Some(subscriber) => wire::cursor_subject(&self.settings, publisher, subscriber),
        };
        let payload = json(question);
        let answered = self
            .client
            .request(subject, payload.into())
            .await
            .map_err(|error| unanswered(publisher, &error))?;
        if let Some(why) = answered.headers.as_ref().and_then(|h| h.get(wire::ERROR)) {
            return Err(Error::Transport(format!("{publisher}: {why}")));
        }
        serde_json::from_slice(&answered.payload).map_err(transport)
    }
}

fn unanswered(publisher: &str, error: &RequestError) -> Error {
    Error::Transport(match error.kind() {
        RequestErrorKind::NoResponders => format!("no process that hosts {publisher} is there"),
        RequestErrorKind::TimedOut => format!("{publisher} does not answer"),
        _ => format!("{publisher} cannot be asked: {error}"),
    })
}
