//! How much may go on at a time: requests, and second tries.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A count that knows its bound.
#[derive(Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

/// One of them, until it is dropped.
pub(crate) struct Flight(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, if there are fewer than `most`.
    pub(crate) fn enter(&self, most: usize) -> Option<Flight> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let flight = Flight(Arc::clone(&self.0));
        (before < most).then_some(flight)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
