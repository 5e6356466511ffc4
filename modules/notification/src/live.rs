//! Who is listening on a live stream, and waking them when there is news.
//!
//! One task per process listens on the bus's ephemeral lane and wakes the streams that a hint
//! concerns: with a receiver in each stream, every hint would wake every stream.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use kernel::{Hint, UserId};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// The topic of hints: "the inbox of the person `key` changed".
pub(crate) const INBOX_TOPIC: &str = "notification.inbox";

/// The live streams of this process.
pub(crate) struct Hub {
    per_user: usize,
    total: usize,
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    total: usize,
    users: HashMap<UserId, User>,
}

struct User {
    streams: usize,
    changed: watch::Sender<()>,
}

/// Why there can be no further stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The person has as many as one may have.
    User,
    Process,
}

impl Hub {
    pub(crate) fn new(per_user: usize, total: usize) -> Self {
        Self {
            per_user,
            total,
            streams: Mutex::default(),
        }
    }

    /// Counts a stream in until the listener is dropped.
    pub(crate) fn join(self: &Arc<Self>, user_id: UserId) -> Result<Listener, Full> {
        let mut streams = self.streams();
        if streams.total >= self.total {
            return Err(Full::Process);
        }
        let user = streams.users.entry(user_id).or_insert_with(|| User {
            streams: 0,
            changed: watch::Sender::new(()),
        });
        if user.streams >= self.per_user {
            return Err(Full::User);
        }
        user.streams += 1;
        let changed = user.changed.subscribe();
        streams.total += 1;
        Ok(Listener {
            hub: Arc::clone(self),
            user_id,
            changed,
        })
    }

    /// Wakes streams by the bus's hints until the module stops. A hint that is lost costs the time
    /// until a stream looks by itself.
    pub(crate) async fn follow(
        self: Arc<Self>,
        mut hints: broadcast::Receiver<Hint>,
        shutdown: CancellationToken,
    ) {
        loop {
            let hint = tokio::select! {
                () = shutdown.cancelled() => return,
                hint = hints.recv() => hint,
            };
            match hint {
                Ok(hint) if hint.topic == INBOX_TOPIC => {
                    if let Ok(user_id) = hint.key.parse() {
                        self.wake(user_id);
                    }
                }
                Ok(_) => {}
                // Whom they were for is not known any more: everybody looks.
                Err(broadcast::error::RecvError::Lagged(_)) => self.wake_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn wake(&self, user_id: UserId) {
        if let Some(user) = self.streams().users.get(&user_id) {
            user.changed.send_replace(());
        }
    }

    fn wake_all(&self) {
        for user in self.streams().users.values() {
            user.changed.send_replace(());
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().expect("no holder panics")
    }
}

/// A stream's place in the hub.
pub(crate) struct Listener {
    hub: Arc<Hub>,
    user_id: UserId,
    changed: watch::Receiver<()>,
}

impl Listener {
    /// Waits for news since this was last called.
    pub(crate) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The sender lives as long as a listener of its user does, so this cannot be; a stream
            // without hints still looks by itself.
            std::future::pending::<()>().await;
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut streams = self.hub.streams();
        streams.total -= 1;
        if let Some(user) = streams.users.get_mut(&self.user_id) {
            user.streams -= 1;
            if user.streams == 0 {
                streams.users.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }

    #[test]
    fn streams_are_bounded_and_make_room_when_they_end() {
        let hub = Arc::new(Hub::new(2, 3));
        let first = hub.join(user(1)).expect("room");
        let _second = hub.join(user(1)).expect("room");
        assert_eq!(hub.join(user(1)).err(), Some(Full::User));
        let _third = hub.join(user(2)).expect("room");
        assert_eq!(hub.join(user(3)).err(), Some(Full::Process));
        drop(first);
        drop(hub.join(user(3)).expect("room"));
        assert!(!hub.streams().users.contains_key(&user(3)));
        assert_eq!(hub.streams().total, 2);
    }

    #[tokio::test]
    async fn a_hint_wakes_its_person_only_and_a_gap_wakes_all() {
        let hub = Arc::new(Hub::new(2, 10));
        let (sender, receiver) = broadcast::channel(2);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&hub).follow(receiver, shutdown.clone()));
        let mut ada = hub.join(user(1)).expect("room");
        let mut bob = hub.join(user(2)).expect("room");
        let hint = |topic: &str, user: UserId| Hint {
            topic: topic.to_owned(),
            key: user.to_string(),
        };
        let soon = Duration::from_secs(5);
        let never = Duration::from_millis(50);

        sender.send(hint("another.topic", user(2))).unwrap();
        sender.send(hint(INBOX_TOPIC, user(1))).unwrap();
        timeout(soon, ada.changed()).await.expect("a hint for Ada");
        assert!(timeout(never, bob.changed()).await.is_err());

        // Sent without a pause: the task has no chance to keep up with a channel of two.
        for _ in 0..10 {
            sender.send(hint("another.topic", user(1))).unwrap();
        }
        timeout(soon, bob.changed())
            .await
            .expect("the gap wakes Bob too");

        shutdown.cancel();
        timeout(soon, task)
            .await
            .expect("it stops")
            .expect("it does not panic");
    }
}
