//! The ephemeral lane between processes: core NATS, which keeps nothing.

use async_nats::Client;
use futures::StreamExt;
use kernel::Hint;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use super::Settings;
use crate::transport::Served;

/// Hints that wait to be sent; more are dropped.
const MAX_WAITING: usize = 1_024;

/// Sends this process's hints.
pub(super) struct Hints {
    client: Client,
    subject: String,
    /// Tells this process from others: what it says itself, it has heard already.
    own: String,
    waiting: mpsc::Sender<Hint>,
    _sending: Served,
}

#[derive(Serialize, Deserialize)]
struct Said {
    by: String,
    topic: String,
    key: String,
}

impl Hints {
    pub(super) fn start(client: Client, settings: &Settings) -> Self {
        let subject = format!("{}.hint", settings.prefix);
        let own = client.new_inbox();
        let (waiting, mut sending) = mpsc::channel::<Hint>(MAX_WAITING);
        let task = {
            let (client, subject, by) = (client.clone(), subject.clone(), own.clone());
            tokio::spawn(async move {
                while let Some(Hint { topic, key }) = sending.recv().await {
                    let by = by.clone();
                    let said = serde_json::to_vec(&Said { by, topic, key }).expect("plain data");
                    // Lost while the server is away: who listens looks by itself, too.
                    let _ = client.publish(subject.clone(), said.into()).await;
                }
            })
        };
        Self {
            client,
            subject,
            own,
            waiting,
            _sending: Served::by(task),
        }
    }

    pub(super) fn send(&self, hint: Hint) {
        let _ = self.waiting.try_send(hint);
    }

    pub(super) fn hear(&self, hints: broadcast::Sender<Hint>) -> Served {
        let (client, subject) = (self.client.clone(), self.subject.clone());
        let own = self.own.clone();
        Served::by(tokio::spawn(async move {
            let Ok(mut heard) = client.subscribe(subject).await else {
                return;
            };
            while let Some(message) = heard.next().await {
                match serde_json::from_slice(&message.payload) {
                    Ok(Said { by, topic, key }) if by != own => {
                        // Nobody may be listening here.
                        let _ = hints.send(Hint { topic, key });
                    }
                    _ => {}
                }
            }
        }))
    }
}
