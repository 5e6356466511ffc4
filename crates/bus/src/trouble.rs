//! Faults that last, told once.

use std::time::{Duration, Instant};

/// For how long a fault may be over by itself: processes start in any order, and one that is
/// restarted is away for a moment.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells of a fault when it lasts and when it ends, not each time it is met.
pub(crate) struct Trouble {
    what: String,
    since: Option<Instant>,
    told: bool,
}

impl Trouble {
    pub(crate) fn of(what: String) -> Self {
        Self {
            what,
            since: None,
            told: false,
        }
    }

    pub(crate) fn tell<E: std::fmt::Display>(&mut self, error: Option<&E>) {
        let what = &self.what;
        let Some(error) = error else {
            if let Some(since) = self.since.take()
                && std::mem::take(&mut self.told)
            {
                tracing::info!(seconds = since.elapsed().as_secs(), "over: {what}");
            }
            return;
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.told {
            return;
        }
        self.told = since.elapsed() >= PATIENCE;
        if self.told {
            tracing::warn!(%error, "{what}");
        } else {
            tracing::debug!(%error, "{what}");
        }
    }
}
