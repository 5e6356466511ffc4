//! Rates that hold across instances: each tells the others, on the ephemeral lane, what it has let
//! pass, and they count it as if it had come to them.
//!
//! What one lets pass before the other hears of it is too much by so much: a hundredth of a limit is
//! told at once, less after a moment. If the lane is cut, each instance counts for itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kernel::{EventBus, Hint};
use tokio::sync::{Notify, broadcast::error::RecvError};
use tokio_util::sync::CancellationToken;

use super::limits::Caller;
use crate::app::App;

/// The least and the most time between two tellings.
const REST: Duration = Duration::from_millis(5);
const MOMENT: Duration = Duration::from_millis(50);
/// Callers told of in one hint: it has to fit into a notification of PostgreSQL's.
const CALLERS_PER_HINT: usize = 60;
/// Callers that wait to be told of, at most: of more, nothing is told.
const MAX_CALLERS: usize = 10_000;
const LANE: &str = ".gateway_rates";

/// What was let pass and not told yet.
#[derive(Default)]
pub struct Spent {
    counts: Mutex<HashMap<(Arc<str>, Caller), u32>>,
    some: Notify,
    much: Notify,
}

impl Spent {
    /// One more; `much` is how many of a caller are told at once.
    pub fn add(&self, rate: &Arc<str>, caller: &Caller, much: u32) {
        let mut counts = self.counts.lock().expect("no holder panics");
        if counts.len() >= MAX_CALLERS {
            return;
        }
        let count = counts
            .entry((Arc::clone(rate), caller.clone()))
            .or_default();
        *count += 1;
        if *count >= much {
            self.much.notify_one();
        }
        drop(counts);
        self.some.notify_one();
    }
}

/// Tells and hears until `stop`. `heard` is given the rate, the caller and how many requests.
pub async fn run(
    app: &App,
    spent: &Spent,
    heard: impl Fn(&str, &Caller, u32),
    stop: CancellationToken,
) {
    let own = app.world.uuid().simple().to_string();
    let hosted: Vec<_> = app.slots().iter().map(|slot| slot.name()).collect();
    // Instances of one kind are counted together: a request passes a gateway and a module's process.
    let tier = if hosted.is_empty() {
        "gateway".to_owned()
    } else {
        hosted.join("+")
    };
    let topic = format!("{}{LANE}", hosted.first().unwrap_or(&"gateway"));
    let hear = async {
        let mut hints = app.bus.hints();
        loop {
            match hints.recv().await {
                Ok(hint) if hint.topic == topic => {
                    for (rate, caller, count) in read(&hint.key, &own, &tier) {
                        heard(rate, &caller, count);
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    };
    let tell = async {
        loop {
            spent.some.notified().await;
            let _ = tokio::time::timeout(MOMENT, spent.much.notified()).await;
            let counts = std::mem::take(&mut *spent.counts.lock().expect("no holder panics"));
            let counts: Vec<_> = counts.into_iter().collect();
            for some in counts.chunks(CALLERS_PER_HINT) {
                let key = write(&own, &tier, some);
                let topic = topic.clone();
                app.bus.hint(Hint { topic, key });
            }
            tokio::time::sleep(REST).await;
        }
    };
    let both = async { tokio::join!(hear, tell) };
    stop.run_until_cancelled(both).await;
}

/// Who tells, of which tier, then three words for each: rate, caller, count.
fn write(own: &str, tier: &str, counts: &[((Arc<str>, Caller), u32)]) -> String {
    let mut text = format!("{own} {tier}");
    for ((rate, caller), count) in counts {
        text.push_str(&format!(" {rate} {caller} {count}"));
    }
    text
}

fn read<'t>(text: &'t str, own: &str, tier: &str) -> Vec<(&'t str, Caller, u32)> {
    let mut words = text.split(' ');
    let others = words.next().is_some_and(|teller| teller != own);
    let same_tier = words.next() == Some(tier);
    let mut counts = Vec::new();
    // Nobody of ours tells of more at once.
    while let (true, Some(rate), Some(caller), Some(count)) = (
        others && same_tier && counts.len() < CALLERS_PER_HINT,
        words.next(),
        words.next(),
        words.next(),
    ) {
        if let (Ok(caller), Ok(count)) = (caller.parse(), count.parse()) {
            counts.push((rate, caller, count));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_others_of_the_tier() {
        let caller = Caller::Network("2001:db8::".parse().unwrap());
        let text = write("a", "gateway", &[((Arc::from("auth"), caller.clone()), 7)]);
        assert_eq!(read(&text, "b", "gateway"), [("auth", caller.clone(), 7)]);
        assert_eq!(read(&text, "a", "gateway"), [], "its own");
        assert_eq!(read(&text, "b", "identity"), [], "another tier's");
        assert_eq!(read("b gateway auth nobody 7 auth", "a", "gateway"), []);
        assert_eq!(read("", "a", "gateway"), []);
        let crowd = vec![((Arc::from("auth"), caller), 1); CALLERS_PER_HINT + 1];
        let told = read(&write("a", "gateway", &crowd), "b", "gateway").len();
        assert_eq!(told, CALLERS_PER_HINT, "more than ours ever tell of");
    }
}
