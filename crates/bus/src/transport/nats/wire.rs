//! What travels: subjects, events, and questions about a log.

use async_nats::HeaderMap;
use kernel::Envelope;
use serde::{Deserialize, Serialize};

use super::Settings;

/// An event's position in its publisher's log.
pub(super) const POS: &str = "Banyan-Pos";
/// An event's id. Not `Nats-Msg-Id`: the relay says after which message each comes, which lets
/// nothing in twice, and the server's memory of ids would only keep a purged stream from being
/// filled again.
pub(super) const ID: &str = "Banyan-Id";
/// Says that the log has no event at this position any more.
pub(super) const GONE: &str = "Banyan-Gone";
/// An answer that is none: what was wrong.
pub(super) const ERROR: &str = "Banyan-Error";

/// The stream of a publisher's events.
pub(super) fn stream_name(settings: &Settings, module: &str) -> String {
    format!("{}_{module}", settings.prefix)
}

/// All subjects of a publisher's events. An event's own ends with its type, so that others may be
/// given the right to just some.
pub(super) fn event_subjects(settings: &Settings, module: &str) -> String {
    format!("{}.evt.{module}.>", settings.prefix)
}

pub(super) fn event_subject(settings: &Settings, event_type: &str) -> String {
    format!("{}.evt.{event_type}", settings.prefix)
}

/// Where a position is told at which there is nothing.
pub(super) fn gone_subject(settings: &Settings, module: &str) -> String {
    format!("{}.evt.{module}.gone", settings.prefix)
}

/// Where questions about a publisher's log are asked.
pub(super) fn log_subject(settings: &Settings, module: &str) -> String {
    format!("{}.log.{module}", settings.prefix)
}

/// Where readers of one module tell how far they are: only that module may.
pub(super) fn cursor_subject(settings: &Settings, module: &str, subscriber: &str) -> String {
    let reader = subscriber
        .split_once('.')
        .map_or(subscriber, |(reader, _)| reader);
    format!("{}.log.{module}.{reader}", settings.prefix)
}

/// An event in CloudEvents' structured mode (NATS Protocol Binding 1.0.2 §3.2).
#[derive(Serialize)]
pub(super) struct CloudEvent<'e> {
    pub(super) specversion: &'static str,
    pub(super) datacontenttype: &'static str,
    #[serde(flatten)]
    pub(super) envelope: &'e Envelope,
}

pub(super) fn encode(envelope: &Envelope) -> Vec<u8> {
    let event = CloudEvent {
        specversion: "1.0",
        datacontenttype: "application/json",
        envelope,
    };
    serde_json::to_vec(&event).expect("envelopes are plain data")
}

pub(super) fn pos_of(headers: Option<&HeaderMap>) -> Option<i64> {
    headers?.get(POS)?.as_str().parse().ok()
}

/// A question about a log. The answer is the JSON of what the method of the same name of
/// [`Source`](crate::source::Source) returns.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    Read {
        after: i64,
        until: i64,
        topics: Option<Vec<String>>,
        limit: i64,
    },
    BeforeOldest,
    BeforeRecent {
        seconds: f64,
    },
    Head,
    Find {
        topic: String,
        subject: String,
        keyseq: i64,
        after: i64,
    },
    Hold {
        subscriber: String,
        pos: i64,
    },
    Acknowledge {
        subscriber: String,
        pos: i64,
    },
    AgeAfter {
        pos: i64,
    },
}

impl Question {
    /// Whose position it tells, if it does.
    pub(super) fn subscriber(&self) -> Option<&str> {
        match self {
            Self::Hold { subscriber, .. } | Self::Acknowledge { subscriber, .. } => {
                Some(subscriber)
            }
            _ => None,
        }
    }
}

/// A [`Page`](crate::source::Page) on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PageAnswer {
    pub(super) events: Vec<Envelope>,
    pub(super) until: i64,
}
