//! The publisher's side: its log is put into its stream, in order and without holes.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{message::PublishMessage, stream::Stream},
};
use kernel::Envelope;
use rand::RngExt;
use tokio::sync::watch;

use super::{
    Nats,
    stream::{self, End},
    transport, wire,
};
use crate::{
    source::{Error, LocalLog, Source},
    trouble::Trouble,
};

/// Events read from the log, and under way to the server, at once.
const BATCH: i64 = 512;
/// How long a failure is waited out, at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A reader that was told of the log's end has its place in the stream within this time.
const RECENT: Duration = Duration::from_secs(60);
/// Without news, the stream's end is compared with what was sent this often.
const COMPARE_EVERY: Duration = Duration::from_secs(10);

/// Relays whenever the lease is held here.
pub(super) async fn run(nats: &Nats, log: &LocalLog, mut lease: watch::Receiver<Option<i64>>) {
    let mut trouble = Trouble::of(format!("events of {} cannot be relayed", log.module()));
    let mut failures = 0;
    loop {
        if lease.wait_for(Option::is_some).await.is_err() {
            return std::future::pending().await;
        }
        let relayed = tokio::select! {
            relayed = relay(nats, log, &mut trouble) => relayed,
            _ = lease.wait_for(Option::is_none) => continue,
        };
        let Err(error) = relayed else {
            failures = 0;
            continue;
        };
        trouble.tell(Some(&error));
        failures += 1;
        let bound = (Duration::from_millis(50) * (1 << failures.min(7))).min(PAUSE_MAX);
        let pause = rand::rng().random_range(bound / 2..=bound);
        tokio::time::sleep(pause).await;
    }
}

/// Relays from where the stream ends until something makes it necessary to look there again.
async fn relay(nats: &Nats, log: &LocalLog, trouble: &mut Trouble) -> Result<(), Error> {
    let mut connections = nats.connections.clone();
    connections.mark_unchanged();
    let mut tail = log.tail();
    let stream = nats.ensure_stream(log).await?;
    let (stream, end) = agreeing(nats, log, stream).await?;
    let mut sequence = end.sequence;
    let mut sent = match end.last {
        Some(last) => last.pos,
        // Nobody needs more than the slowest subscriber, and who has asked for the end just now:
        // who comes later reads the log itself.
        None => {
            let recent = log.before_recent(RECENT).await?;
            let slowest = log.slowest_cursor().await?.unwrap_or(recent);
            slowest.min(recent).max(log.before_oldest().await?)
        }
    };
    let stream_name = &stream.cached_info().config.name;
    trouble.tell(None::<&Error>);
    loop {
        let head = tail.borrow_and_update().head();
        if sent >= head {
            tokio::select! {
                _ = tail.changed() => continue,
                _ = connections.changed() => return Ok(()),
                () = tokio::time::sleep(COMPARE_EVERY) => {}
            }
            // It may have been emptied by hand, or another may have written to it.
            let info = stream.get_info().await.map_err(transport)?;
            if info.state.last_sequence != sequence {
                return Ok(());
            }
            continue;
        }
        let page = log.read(sent, head, None, BATCH).await?;
        let mut under_way = Vec::new();
        let mut events = page.events.iter().peekable();
        for pos in sent + 1..=page.until {
            let event = events.next_if(|event| event.pos == pos);
            let (subject, message) = message(nats, log.module(), pos, event);
            // Exactly after what was sent before: neither a repetition, nor another relay that has
            // not noticed yet that its lease is gone, can put anything between.
            let message = message
                .expected_stream(stream_name)
                .expected_last_sequence(sequence);
            let sent = nats.jetstream.send_publish(subject, message).await;
            under_way.push(sent.map_err(transport)?);
            sequence += 1;
        }
        for ack in under_way {
            ack.await.map_err(transport)?;
        }
        sent = page.until;
    }
}

fn message(
    nats: &Nats,
    module: &str,
    pos: i64,
    event: Option<&Envelope>,
) -> (String, PublishMessage) {
    let mut headers = HeaderMap::new();
    headers.insert(wire::POS, pos.to_string());
    match event {
        Some(event) => {
            headers.insert("Content-Type", "application/cloudevents+json");
            headers.insert(wire::ID, event.id.to_string());
            (
                wire::event_subject(&nats.settings, &event.event_type),
                PublishMessage::build()
                    .payload(wire::encode(event).into())
                    .headers(headers),
            )
        }
        None => {
            headers.insert(wire::GONE, "1");
            (
                wire::gone_subject(&nats.settings, module),
                PublishMessage::build().headers(headers),
            )
        }
    }
}

/// The stream and its end, when it is a stream of this log. One of another (the database was restored
/// from a backup, or made anew) is replaced: what it has is not the record.
async fn agreeing(nats: &Nats, log: &LocalLog, stream: Stream) -> Result<(Stream, End), Error> {
    let end = stream::end(&stream).await?;
    let agrees = match &end.last {
        None => !end.foreign,
        Some(last) => {
            let page = log.read(last.pos - 1, last.pos, None, 1).await?;
            last.is_of(page.events.first(), log.head().await?)
        }
    };
    if agrees {
        return Ok((stream, end));
    }
    tracing::warn!(
        module = log.module(),
        pos = end.last.map(|last| last.pos),
        "the stream is not of this log, or another has written to it: it is made anew"
    );
    let name = &stream.cached_info().config.name;
    nats.jetstream
        .delete_stream(name)
        .await
        .map_err(transport)?;
    let stream = nats.ensure_stream(log).await?;
    let end = stream::end(&stream).await?;
    Ok((stream, end))
}
