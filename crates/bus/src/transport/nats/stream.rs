//! A publisher's stream: made, kept as it should be, and how its numbers relate to positions.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    context::{GetStreamError, GetStreamErrorKind},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream},
};

use futures::StreamExt;
use kernel::{Clock, Envelope, clock::SystemClock};

use uuid::Uuid;

use super::{Nats, transport, wire};
use crate::source::{Error, LocalLog};

/// A consumer for one look goes when it has rested for so long.
const LOOK_FOR: Duration = Duration::from_secs(5);

/// Where a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Of the last message, or of one that is gone; 0 before the first.
    pub(super) sequence: u64,
    /// What the last message is; none when there is none, or it is of another's making.
    pub(super) last: Option<Last>,
    pub(super) foreign: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) pos: i64,
    /// None for a position without an event.
    pub(super) id: Option<String>,
}

impl Nats {
    /// The stream, as it should be: made when there is none, changed when it is of an older release
    /// or another configuration.
    ///
    /// # Errors
    /// When it is the stream of another log, of a database that is in use elsewhere, perhaps.
    pub(super) async fn ensure_stream(&self, log: &LocalLog) -> Result<Stream, Error> {
        let wanted = self.stream_config(log);
        if let Some(stream) = self.stream_of(log).await? {
            let is = &stream.cached_info().config;
            if is.subjects == wanted.subjects
                && is.max_age == wanted.max_age
                && is.max_bytes == wanted.max_bytes
                && is.num_replicas == wanted.num_replicas
            {
                return Ok(stream);
            }
            let wanted = Config {
                storage: is.storage,
                ..wanted
            };
            self.jetstream
                .update_stream(wanted)
                .await
                .map_err(transport)?;
            return Ok(stream);
        }
        self.jetstream
            .create_stream(wanted)
            .await
            .map_err(transport)
    }

    /// The stream of this log, if there is one.
    pub(super) async fn stream_of(&self, log: &LocalLog) -> Result<Option<Stream>, Error> {
        let stream = self.find_stream(log.module()).await?;
        let Some(found) = &stream else {
            return Ok(None);
        };
        let config = &found.cached_info().config;
        let words = config.description.as_deref().unwrap_or_default();
        let other = words
            .rsplit(' ')
            .next()
            .and_then(|id| id.parse::<Uuid>().ok());
        match other {
            Some(other) if other != log.id() => Err(Error::OtherLog(format!(
                "the stream {} carries the log {other} of {}, and its database here has the log {}: \
                 another database of it is in use under this bus.nats.prefix, or was; delete the \
                 stream when that one is gone for good",
                config.name,
                log.module(),
                log.id()
            ))),
            _ => Ok(stream),
        }
    }

    /// The stream, if its publisher has made it.
    pub(super) async fn find_stream(&self, module: &str) -> Result<Option<Stream>, Error> {
        let name = wire::stream_name(&self.settings, module);
        match self.jetstream.get_stream(name).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(transport(error)),
        }
    }

    /// The position of the last event in the stream, if there is one.
    pub(super) async fn relayed(&self, module: &str) -> Result<Option<i64>, Error> {
        let Some(stream) = self.find_stream(module).await? else {
            return Ok(None);
        };
        Ok(end(&stream).await?.last.map(|last| last.pos))
    }

    /// The position before the first event that came into the stream in the last `lookback`, if the
    /// stream has one at all.
    pub(super) async fn before_recent(
        &self,
        module: &str,
        lookback: Duration,
    ) -> Result<Option<i64>, Error> {
        let Some(stream) = self.find_stream(module).await? else {
            return Ok(None);
        };
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartTime {
                start_time: SystemClock.now() - lookback,
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: LOOK_FOR,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(transport)?;
        let first = consumer.fetch().max_messages(1).messages().await;
        let first = first.map_err(transport)?.next().await.transpose();
        match first.map_err(transport)? {
            Some(message) => Ok(wire::pos_of(message.headers.as_ref()).map(|pos| pos - 1)),
            None => Ok(end(&stream).await?.last.map(|last| last.pos)),
        }
    }

    fn stream_config(&self, log: &LocalLog) -> Config {
        let module = log.module();
        Config {
            name: wire::stream_name(&self.settings, module),
            description: Some(format!(
                "events of {module}; the record is its log {}",
                log.id()
            )),
            subjects: vec![wire::event_subjects(&self.settings, module)],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            max_age: self.settings.keep,
            max_bytes: self.settings.max_bytes.unwrap_or(-1),
            num_replicas: self.settings.replicas,
            ..Config::default()
        }
    }
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.code() == 404)
}

/// The end of a stream, asked anew.
pub(super) async fn end(stream: &Stream) -> Result<End, Error> {
    let state = stream.get_info().await.map_err(transport)?.state;
    let mut end = End {
        sequence: state.last_sequence,
        last: None,
        foreign: false,
    };
    if state.messages > 0 {
        let message = stream
            .get_raw_message(state.last_sequence)
            .await
            .map_err(transport)?;
        let id = message.headers.get(wire::ID);
        end.last = wire::pos_of(Some(&message.headers)).map(|pos| Last {
            pos,
            id: id.map(ToString::to_string),
        });
        end.foreign = end.last.is_none();
    }
    Ok(end)
}

impl Last {
    /// Is it of a log that goes as far as `head`, and has this event at the position? What the log has
    /// not got any more was erased or trimmed since.
    pub(super) fn is_of(&self, in_log: Option<&Envelope>, head: i64) -> bool {
        match in_log {
            Some(event) => self.id == Some(event.id.to_string()),
            None => self.id.is_none() || self.pos <= head,
        }
    }
}

impl End {
    /// The sequence number at which a reader begins that wants what follows a position: the stream
    /// has no holes. May lie before the first message that is left.
    pub(super) fn start_after(&self, pos: i64) -> u64 {
        let next = self.sequence + 1;
        match &self.last {
            Some(last) if pos < last.pos => {
                let back = u64::try_from(last.pos - pos).expect("positive");
                next.saturating_sub(back).max(1)
            }
            _ => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_follow_positions() {
        let last = |pos| Some(Last { pos, id: None });
        let end = |sequence, last| End {
            sequence,
            last,
            foreign: false,
        };
        assert_eq!(end(0, None).start_after(0), 1);
        assert_eq!(end(7, None).start_after(900), 8, "emptied");
        assert_eq!(end(10, last(10)).start_after(10), 11);
        assert_eq!(end(10, last(10)).start_after(4), 5);
        assert_eq!(end(3, last(1_003)).start_after(1_001), 2);
        assert_eq!(end(3, last(1_003)).start_after(5), 1, "the log has more");
        assert_eq!(end(3, last(1_003)).start_after(2_000), 4);
    }
}
