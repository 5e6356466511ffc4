//! The ambient context of a request, delivery or job: which trace it belongs to and who acts.
//!
//! It is task-local, so that a log record and an event carry it without every function passing it
//! on. Code that spawns a task carries it over with [`RequestContext::scope`].

use std::future::Future;

use crate::{
    clock::World,
    event::{Client, EventContext, EventId},
};

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// Where we are: trace, cause and actor.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// 32 hex digits, W3C trace context.
    pub trace_id: String,
    /// 16 hex digits: the span that this context stands for.
    pub span_id: String,
    pub correlation_id: String,
    pub causation_id: Option<EventId>,
    pub actor: Option<String>,
    pub client: Option<Client>,
}

impl RequestContext {
    /// A new trace.
    pub fn root(world: &World) -> Self {
        let ids = hex(&world.bytes::<24>());
        let (trace_id, span_id) = ids.split_at(32);
        Self {
            correlation_id: trace_id.to_owned(),
            trace_id: trace_id.to_owned(),
            span_id: span_id.to_owned(),
            ..Self::default()
        }
    }

    /// Continues a caller's trace when its `traceparent` is well formed (W3C Trace Context §3.2),
    /// or starts a new one.
    pub fn continued(world: &World, traceparent: Option<&str>) -> Self {
        let mut context = Self::root(world);
        if let Some(trace_id) = traceparent.and_then(trace_id_of) {
            context.trace_id = trace_id.to_owned();
            context.correlation_id = trace_id.to_owned();
        }
        context
    }

    /// The context in which an event is handled: its trace goes on, the event is the cause.
    pub fn caused_by(world: &World, id: EventId, event: &EventContext) -> Self {
        let mut context = Self::continued(world, Some(&event.traceparent));
        context.correlation_id.clone_from(&event.correlationid);
        context.causation_id = Some(id);
        context.actor.clone_from(&event.actor);
        context.client.clone_from(&event.client);
        context
    }

    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Looks without cloning: for log records.
    pub fn with<T>(look: impl FnOnce(&Self) -> T) -> Option<T> {
        CURRENT.try_with(look).ok()
    }

    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    pub fn for_event(&self) -> EventContext {
        EventContext {
            traceparent: self.traceparent(),
            correlationid: self.correlation_id.clone(),
            causationid: self.causation_id,
            actor: self.actor.clone(),
            onbehalfof: None,
            client: self.client.clone(),
            tenant: None,
        }
    }
}

fn trace_id_of(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |s: &str, len: usize| {
        s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let valid = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && hex(span, 16)
        && trace.bytes().any(|b| b != b'0')
        && span.bytes().any(|b| b != b'0');
    valid.then_some(trace)
}

/// Lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|n| char::from(DIGITS[usize::from(n)]));
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_traceparent_starts_a_new_trace() {
        let world = World::system();
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            RequestContext::continued(&world, Some(good)).trace_id,
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        for bad in [
            "",
            "00-0-0-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            let context = RequestContext::continued(&world, Some(bad));
            assert_eq!(context.trace_id.len(), 32, "{bad}");
            assert_ne!(
                context.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736",
                "{bad}"
            );
        }
    }
}
