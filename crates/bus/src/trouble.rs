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

    pub(crate) fn tell(&mut self, error: Option<&sqlx::Error>) {
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
