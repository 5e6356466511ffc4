//! Requests of one client at the same time: whoever sends slowly holds a place in every bound behind
//! the edge, and must not hold all of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::extract::Request;
use kernel::{Problem, principal::network};

use super::limits::{client, too_many};

/// How many requests of each client are being answered.
pub struct InFlight {
    most: u32,
    counts: Mutex<HashMap<IpAddr, u32>>,
    refused: AtomicU64,
}

/// A request that is being answered, until it is dropped.
pub struct Flight<'f> {
    of: &'f InFlight,
    client: IpAddr,
}

impl InFlight {
    /// 0 for no bound.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            counts: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// How many requests it has refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts a request until its answer begins; nothing where there is no bound.
    pub fn enter(&self, request: &Request) -> Result<Option<Flight<'_>>, Problem> {
        let Some(client) = client(request).map(network).filter(|_| self.most > 0) else {
            return Ok(None);
        };
        let mut counts = self.counts.lock().expect("no holder panics");
        let count = counts.entry(client).or_default();
        if *count >= self.most {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let why = "Your network has too many requests under way; wait for some of them.";
            return Err(too_many(why, 1));
        }
        *count += 1;
        Ok(Some(Flight { of: self, client }))
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut counts = self.of.counts.lock().expect("no holder panics");
        if let Entry::Occupied(mut count) = counts.entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
