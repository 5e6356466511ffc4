//! What a reader has in memory of a publisher's log: a bounded stretch up to its end.

use std::{collections::VecDeque, sync::Mutex};

use kernel::Envelope;
use tokio::sync::{Notify, watch};

use crate::{sequencer::Moved, source::Page, tail::Tail};

/// Events that wait in memory, and their bytes, at most; then no more are asked for.
const MAX_EVENTS: usize = 1_024;
const MAX_BYTES: usize = 8 << 20;

/// The stretch between a feed that fills it and a reader that empties it.
pub(super) struct Window {
    tail: watch::Sender<Tail>,
    stretch: Mutex<Stretch>,
    room: Notify,
}

#[derive(Default)]
struct Stretch {
    /// From here to `last`, everything that the reader wants is in `events`.
    floor: i64,
    last: i64,
    events: VecDeque<Envelope>,
    bytes: usize,
}

/// A message of the stream, read.
pub(super) struct Arrived {
    pub(super) pos: i64,
    /// None when it is of no interest to the reader, or gone.
    pub(super) event: Option<Envelope>,
    pub(super) topic: String,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            tail: watch::Sender::new(Tail::at(0)),
            stretch: Mutex::default(),
            room: Notify::new(),
        }
    }
}

impl Window {
    pub(super) fn tail(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }

    /// Empties it: what lies up to `head` is in the log.
    pub(super) fn open(&self, head: i64) {
        *self.stretch.lock().expect("no holder panics") = Stretch {
            floor: head,
            last: head,
            ..Stretch::default()
        };
        self.tail.send_replace(Tail::at(head));
    }

    /// The log has come so far, whatever the stream brought: the reader finds it there.
    pub(super) fn seen(&self, head: i64) -> bool {
        let mut stretch = self.stretch.lock().expect("no holder panics");
        if head <= stretch.last {
            return false;
        }
        stretch.skip_to(head);
        drop(stretch);
        self.tail.send_if_modified(|tail| tail.seen(head))
    }

    pub(super) fn last(&self) -> i64 {
        self.stretch.lock().expect("no holder panics").last
    }

    /// Takes what arrived, in its order. Repetitions are passed over; before a gap the reader goes
    /// to the log.
    pub(super) fn put(&self, arrived: impl IntoIterator<Item = Arrived>) {
        let mut moved = Vec::new();
        {
            let mut stretch = self.stretch.lock().expect("no holder panics");
            for Arrived { pos, event, topic } in arrived {
                if pos <= stretch.last {
                    continue;
                }
                if pos > stretch.last + 1 {
                    stretch.skip_to(pos - 1);
                }
                stretch.last = pos;
                if let Some(event) = event {
                    stretch.bytes += size(&event);
                    stretch.events.push_back(event);
                }
                moved.push((pos, topic));
            }
        }
        self.tail.send_if_modified(|tail| {
            let mut any = false;
            for (pos, topic) in moved {
                any |= tail.put(Moved {
                    before: pos - 1,
                    head: pos,
                    topics: vec![topic],
                    full: false,
                });
            }
            any
        });
    }

    /// What follows `after`, if it is here; else up to where the log has to be read.
    pub(super) fn take(&self, after: i64, until: i64, limit: i64) -> Result<Page, i64> {
        let mut stretch = self.stretch.lock().expect("no holder panics");
        if after < stretch.floor {
            return Err(until.min(stretch.floor));
        }
        if after >= stretch.last {
            return Err(until);
        }
        let until = until.min(stretch.last);
        // The reader is past it for good: should it come back, the log has it.
        while stretch
            .events
            .front()
            .is_some_and(|event| event.pos <= after)
        {
            let event = stretch.events.pop_front().expect("it was looked at");
            stretch.bytes -= size(&event);
        }
        stretch.floor = after;
        let limit = usize::try_from(limit).unwrap_or_default();
        let wanted = stretch.events.iter().take_while(|e| e.pos <= until);
        let events: Vec<_> = wanted.take(limit).cloned().collect();
        drop(stretch);
        self.room.notify_one();
        let until = match events.last() {
            Some(last) if events.len() == limit => last.pos,
            _ => until,
        };
        Ok(Page { events, until })
    }

    /// How many more events it takes, once it takes some.
    pub(super) async fn room(&self) -> usize {
        loop {
            {
                let stretch = self.stretch.lock().expect("no holder panics");
                let room = MAX_EVENTS.saturating_sub(stretch.events.len());
                if room >= MAX_EVENTS / 4 && stretch.bytes < MAX_BYTES {
                    return room;
                }
            }
            self.room.notified().await;
        }
    }
}

impl Stretch {
    fn skip_to(&mut self, pos: i64) {
        *self = Self {
            floor: pos,
            last: pos,
            ..Self::default()
        };
    }
}

fn size(event: &Envelope) -> usize {
    event.data.get().len() + event.subject.len() + 512
}

#[cfg(test)]
mod tests {
    use kernel::{EventId, event::EventContext};
    use serde_json::value::RawValue;

    use super::*;

    fn arrived(pos: i64) -> Arrived {
        let event = Envelope {
            id: EventId(uuid::Uuid::nil()),
            source: "shop".to_owned(),
            event_type: "shop.order.placed.v1".to_owned(),
            subject: "order".to_owned(),
            time: time::OffsetDateTime::UNIX_EPOCH,
            pos,
            keyseq: Some(pos),
            keyprevpos: None,
            context: EventContext::default(),
            data: RawValue::from_string("{}".to_owned()).unwrap(),
        };
        Arrived {
            pos,
            event: Some(event),
            topic: "shop.order".to_owned(),
        }
    }

    fn positions(page: Result<Page, i64>) -> Result<(Vec<i64>, i64), i64> {
        page.map(|page| (page.events.iter().map(|e| e.pos).collect(), page.until))
    }

    #[test]
    fn what_it_lacks_is_in_the_log() {
        let window = Window::default();
        window.open(10);
        assert_eq!(positions(window.take(4, 10, 5)), Err(10), "from before");
        window.put([9, 10, 11, 12, 11].map(arrived));
        assert_eq!(window.tail().borrow().head(), 12);
        assert_eq!(positions(window.take(10, 12, 5)), Ok((vec![11, 12], 12)));
        assert_eq!(positions(window.take(10, 12, 1)), Ok((vec![11], 11)));
        assert_eq!(positions(window.take(11, 12, 5)), Ok((vec![12], 12)));
        assert_eq!(positions(window.take(10, 12, 5)), Err(11), "gone back");

        window.put([15].map(arrived));
        assert_eq!(positions(window.take(12, 15, 5)), Err(14), "a gap");
        assert_eq!(positions(window.take(14, 15, 5)), Ok((vec![15], 15)));
        assert!(window.seen(20) && !window.seen(20));
        window.put([17, 21].map(arrived));
        assert_eq!(positions(window.take(15, 21, 5)), Err(20));
        assert_eq!(positions(window.take(20, 30, 5)), Ok((vec![21], 21)));
        assert_eq!(positions(window.take(21, 30, 5)), Err(30), "not here yet");
    }
}
