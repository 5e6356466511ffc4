//! The end of a log, as far as a process knows.

use std::collections::HashMap;

use crate::sequencer::Moved;

/// Where a log ends, and where each topic's last event lies. A subscription that knows there is
/// nothing for it need not read.
#[derive(Debug)]
pub struct Tail {
    head: i64,
    /// From here on, what this process put into the log itself is known by topic.
    since: i64,
    topics: HashMap<String, i64>,
}

impl Tail {
    pub(crate) fn at(head: i64) -> Self {
        Self {
            head,
            since: head,
            topics: HashMap::new(),
        }
    }

    pub fn head(&self) -> i64 {
        self.head
    }

    /// Is there something after `reached` that a subscription to these topics, or to all, may want?
    pub fn wants(&self, reached: i64, topics: Option<&[String]>) -> bool {
        let Some(topics) = topics else {
            return reached < self.head;
        };
        let last = |topic: &String| self.topics.get(topic).copied().unwrap_or_default();
        reached < self.since || topics.iter().any(|topic| reached < last(topic))
    }

    /// Somebody put events there. True when that is new.
    pub(crate) fn seen(&mut self, head: i64) -> bool {
        let moved = head > self.head;
        if moved {
            *self = Self::at(head);
        }
        moved
    }

    /// This process put events there. True when there were any.
    pub(crate) fn put(&mut self, batch: Moved) -> bool {
        if batch.head <= self.head {
            return false;
        }
        // Another process may have led in between.
        if batch.before != self.head {
            *self = Self::at(batch.before);
        }
        self.head = batch.head;
        let topics = batch.topics.into_iter();
        self.topics.extend(topics.map(|topic| (topic, batch.head)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(before: i64, head: i64, topic: &str) -> Moved {
        Moved {
            before,
            head,
            topics: vec![topic.to_owned()],
            full: false,
        }
    }

    #[test]
    fn only_what_this_process_put_there_is_known_by_topic() {
        let orders = ["shop.order".to_owned()];
        let wants = |tail: &Tail, reached| tail.wants(reached, Some(&orders));
        let mut tail = Tail::at(10);
        assert!(!wants(&tail, 10));
        assert!(wants(&tail, 9), "whatever lies there");

        assert!(tail.put(batch(10, 15, "shop.cart")));
        assert!(!wants(&tail, 10), "carts only");
        assert!(tail.wants(10, None), "but a whole log has moved");
        assert!(tail.put(batch(15, 16, "shop.order")));
        assert!(wants(&tail, 10) && wants(&tail, 15) && !wants(&tail, 16));

        assert!(tail.seen(20) && !tail.seen(20));
        assert!(wants(&tail, 16), "another process put something there");
        assert!(tail.put(batch(25, 26, "shop.cart")));
        assert!(wants(&tail, 20), "and once more before our own");
        assert!(!wants(&tail, 25));
        assert!(!tail.put(batch(26, 26, "shop.cart")), "an empty batch");
    }
}
