//! Who is called when something is to be fetched: this process at once, others by a NOTIFY that is
//! rationed and never part of a business transaction (it would serialise commits). Calls may be
//! lost: everybody also looks by itself.

use std::{collections::HashSet, sync::Mutex, time::Duration};

use kernel::{Db, Hint};
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use crate::schema::Schema;

/// The least time between two notifications of a module in a process.
const REST: Duration = Duration::from_millis(25);
/// More hints than this within one rest are dropped; listeners look by themselves now and then.
const MAX_HINTS: usize = 1_000;
/// PostgreSQL's bound on a notification's payload is 8,000 bytes.
const MAX_PAYLOAD_BYTES: usize = 7_500;

/// Calls about one module's outbox and log, and the hints of its topics.
#[derive(Debug)]
pub struct Wakeup {
    channel: String,
    instance: Uuid,
    /// Something was committed to the outbox.
    pub(crate) outbox: Notify,
    hints: broadcast::Sender<Hint>,
    pending: Mutex<Pending>,
    flush: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    events: bool,
    hints: HashSet<(String, String)>,
}

impl Wakeup {
    pub fn new(schema: &Schema, instance: Uuid, hints: broadcast::Sender<Hint>) -> Self {
        Self {
            channel: format!("banyan_{schema}"),
            instance,
            outbox: Notify::new(),
            hints,
            pending: Mutex::default(),
            flush: Notify::new(),
        }
    }

    /// There is something new for the sequencer or for readers of the log in other processes.
    pub(crate) fn tell_others(&self) {
        self.pending.lock().expect("no holder panics").events = true;
        self.flush.notify_one();
    }

    /// Passes a hint on. One that would not survive the wire reaches this process only.
    pub fn hint(&self, hint: Hint) {
        if travels(&hint) {
            let mut pending = self.pending.lock().expect("no holder panics");
            if pending.hints.len() < MAX_HINTS {
                pending.hints.insert((hint.topic.clone(), hint.key.clone()));
            }
        }
        // Without listeners there is nobody to tell in this process.
        let _ = self.hints.send(hint);
        self.flush.notify_one();
    }

    /// Passes calls on to other processes and takes theirs, for as long as it is polled.
    pub async fn run(&self, db: &Db) -> Result<(), sqlx::Error> {
        tokio::try_join!(self.send(db), self.listen(db))?;
        Ok(())
    }

    async fn send(&self, db: &Db) -> Result<(), sqlx::Error> {
        loop {
            self.flush.notified().await;
            let pending = std::mem::take(&mut *self.pending.lock().expect("no holder panics"));
            for payload in payloads(self.instance, &pending) {
                // A call that fails to go out is made up for by the others' poll.
                // Not waiting for the disk: 40 a second would be as many flushes.
                let sent = sqlx::query(
                    "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)",
                )
                .bind(&self.channel)
                .bind(payload)
                .execute(db.bus_pool())
                .await;
                if let Err(error) = sent {
                    tracing::debug!(%error, "notification could not be sent");
                }
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn listen(&self, db: &Db) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(db.bus_pool()).await?;
        listener.listen(&self.channel).await?;
        loop {
            match listener.try_recv().await? {
                Some(notification) => self.take(notification.payload()),
                // The connection was lost and calls with it.
                None => self.outbox.notify_one(),
            }
        }
    }

    fn take(&self, payload: &str) {
        let mut lines = payload.lines();
        if lines.next() == Some(&self.instance.to_string()) {
            return;
        }
        for line in lines {
            match line.split_once('\t') {
                None => self.outbox.notify_one(),
                Some((topic, key)) => {
                    let hint = Hint {
                        topic: topic.to_owned(),
                        key: key.to_owned(),
                    };
                    let _ = self.hints.send(hint);
                }
            }
        }
    }
}

/// Does a hint survive the wire, whichever it is?
pub(crate) fn travels(hint: &Hint) -> bool {
    let mut chars = hint.topic.chars().chain(hint.key.chars());
    hint.topic.len() + hint.key.len() < MAX_PAYLOAD_BYTES / 2 && !chars.any(char::is_control)
}

/// The sender, then a line for each call: `events`, or a hint's topic and key.
fn payloads(instance: Uuid, pending: &Pending) -> Vec<String> {
    let events = pending.events.then(|| "events".to_owned());
    let hints = pending
        .hints
        .iter()
        .map(|(topic, key)| format!("{topic}\t{key}"));
    let mut payloads: Vec<String> = Vec::new();
    for line in events.into_iter().chain(hints) {
        match payloads.last_mut() {
            Some(last) if last.len() + line.len() < MAX_PAYLOAD_BYTES => {
                last.push('\n');
                last.push_str(&line);
            }
            _ => payloads.push(format!("{instance}\n{line}")),
        }
    }
    payloads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_stay_within_the_bound() {
        let hints = (0..1_000).map(|n| ("notification.inbox".to_owned(), format!("{n:036}")));
        let pending = Pending {
            events: true,
            hints: hints.collect(),
        };
        let payloads = payloads(Uuid::nil(), &pending);
        assert!(payloads.len() > 1);
        assert!(payloads.iter().all(|p| p.len() <= MAX_PAYLOAD_BYTES + 100));
        let lines: usize = payloads.iter().map(|p| p.lines().count() - 1).sum();
        assert_eq!(lines, 1_001);
    }
}
