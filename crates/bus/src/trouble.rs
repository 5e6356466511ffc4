//! Faults that last, told once.

use std::time::Instant;

/// Tells of a fault when it begins and when it ends, not each time it is met.
pub(crate) struct Trouble {
    what: String,
    since: Option<Instant>,
}

impl Trouble {
    pub(crate) fn of(what: String) -> Self {
        Self { what, since: None }
    }

    pub(crate) fn tell<E: std::fmt::Display>(&mut self, error: Option<&E>) {
        let what = &self.what;
        match (error, self.since) {
            (Some(error), None) => {
                tracing::warn!(%error, "{what}");
                self.since = Some(Instant::now());
            }
            (None, Some(since)) => {
                tracing::info!(seconds = since.elapsed().as_secs(), "over: {what}");
                self.since = None;
            }
            _ => {}
        }
    }
}
