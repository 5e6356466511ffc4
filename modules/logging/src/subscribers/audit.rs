//! Every event of every module becomes an entry of the audit trail.

use std::collections::HashMap;

use anyhow::anyhow;
use async_trait::async_trait;
use kernel::{Envelope, HandleBatch, HandlerError, Tx, World};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{
        chain::{Content, Entry, Metadata},
        trace,
    },
    store,
};

/// Takes one publisher's log, in its order.
///
/// Entries are chained in the transaction that moves the subscription: an event that was handled is
/// in the chain, without a table in between. The lock on the chain's head lets in one publisher at
/// a time, over all instances; a batch holds it for a few milliseconds.
pub(crate) struct EnterInAuditTrail {
    pub(crate) publisher: String,
    pub(crate) world: World,
}

#[async_trait]
impl HandleBatch for EnterInAuditTrail {
    async fn handle(&self, tx: &mut Tx, events: &[Envelope]) -> Result<(), HandlerError> {
        enter(tx, &self.world, &self.publisher, events).await
    }
}

/// Appends what is new of a publisher's events, in their order.
pub async fn enter(
    conn: &mut PgConnection,
    world: &World,
    publisher: &str,
    events: &[Envelope],
) -> Result<(), HandlerError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(());
    };
    // Before looking for what is entered: nothing can be added between the two.
    let mut head = store::audit::lock_head(conn).await?;
    let entered = store::audit::entered(conn, publisher, first.pos, last.pos).await?;
    let events = not_entered(events, &entered.into_iter().collect())?;
    let mut entries = Vec::with_capacity(events.len());
    for event in events {
        let (metadata, content) = facts_of(publisher, event);
        let entry = Entry::after(&head, metadata, content, world.bytes());
        head = entry.checkpoint();
        entries.push(entry);
    }
    store::audit::append(conn, &entries).await?;
    Ok(())
}

/// The events that are new. One that has another's position is neither a duplicate nor new: the
/// publisher's log went back, by a restore from a backup perhaps, and a person has to look.
fn not_entered<'a>(
    events: &'a [Envelope],
    entered: &HashMap<i64, Uuid>,
) -> Result<Vec<&'a Envelope>, HandlerError> {
    let mut new = Vec::with_capacity(events.len());
    for event in events {
        match entered.get(&event.pos) {
            None => new.push(event),
            Some(id) if *id == event.id.0 => {}
            Some(id) => {
                return Err(HandlerError::Failed(anyhow!(
                    "position {} is in the audit trail with event {id}, not {}",
                    event.pos,
                    event.id
                )));
            }
        }
    }
    Ok(new)
}

fn facts_of(publisher: &str, event: &Envelope) -> (Metadata, Content) {
    let context = &event.context;
    let client = context.client.clone().unwrap_or_default();
    let time = event.time;
    let metadata = Metadata {
        seq: 0,
        publisher: publisher.to_owned(),
        pos: event.pos,
        event_id: event.id.0,
        time: time
            .replace_nanosecond(time.microsecond() * 1_000)
            .expect("in range"),
        action: event.event_type.clone(),
        target: event.subject.clone(),
        actor: context.actor.clone(),
        on_behalf_of: context.onbehalfof.clone(),
        tenant: context.tenant,
        trace_id: context.trace_id().and_then(trace::parse_trace_id),
        correlation_id: context.correlationid.clone(),
        causation_id: context.causationid.map(|id| id.0),
    };
    let content = Content {
        data: event.data.get().to_owned(),
        client_address: client.address.map(|address| address.to_string()),
        user_agent: client.user_agent,
    };
    (metadata, content)
}

#[cfg(test)]
mod tests {
    use kernel::{
        EventId,
        event::{Client, EventContext},
    };
    use serde_json::value::RawValue;
    use time::macros::datetime;

    use super::*;

    fn event(pos: i64) -> Envelope {
        Envelope {
            id: EventId(Uuid::from_u128(u128::try_from(pos).unwrap())),
            source: "identity".into(),
            event_type: "identity.session.started.v1".into(),
            subject: "s".into(),
            time: datetime!(2026-05-02 12:00:00.123456789 UTC),
            pos,
            keyseq: Some(1),
            keyprevpos: None,
            context: EventContext {
                traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
                correlationid: "c".into(),
                actor: Some("user:u".into()),
                client: Some(Client {
                    address: Some("2001:db8::1".parse().unwrap()),
                    user_agent: Some("ua".into()),
                }),
                ..EventContext::default()
            },
            data: RawValue::from_string(r#"{"email": "a@example.org"}"#.into()).unwrap(),
        }
    }

    #[test]
    fn what_names_a_person_is_content() {
        let (metadata, content) = facts_of("identity", &event(5));
        assert_eq!(metadata.time, datetime!(2026-05-02 12:00:00.123456 UTC));
        assert_eq!(metadata.actor.as_deref(), Some("user:u"));
        assert_eq!(
            metadata.trace_id.map(trace::show_trace_id).unwrap().len(),
            32
        );
        assert!(!format!("{metadata:?}").contains("example.org"));
        assert!(!format!("{metadata:?}").contains("2001:db8::1"));
        assert_eq!(content.data, r#"{"email": "a@example.org"}"#);
        assert_eq!(content.client_address.as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn what_comes_again_is_not_entered_again() {
        let events = [event(1), event(2), event(3)];
        let entered = HashMap::from([(1, events[0].id.0), (2, events[1].id.0)]);
        let new = not_entered(&events, &entered).unwrap();
        assert_eq!(new.iter().map(|e| e.pos).collect::<Vec<_>>(), [3]);
        let entered = HashMap::from([(2, Uuid::nil())]);
        assert!(not_entered(&events, &entered).is_err());
    }
}
