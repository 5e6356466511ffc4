//! Requests of one client at the same time: whoever sends slowly holds a place in every bound behind
//! the edge, and must not hold all of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Mutex,
};

use axum::{extract::Request, http::StatusCode};
use kernel::Problem;

use super::limits::{client, network};

/// How many requests of each client are being answered.
pub struct Places {
    most: u32,
    taken: Mutex<HashMap<IpAddr, u32>>,
}

/// A request's place, until it is dropped.
pub struct Place<'p> {
    places: &'p Places,
    client: IpAddr,
}

impl Places {
    /// 0 for no bound.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// Takes a place for a request until its answer begins; none is needed where there is no bound.
    pub fn enter(&self, request: &Request) -> Result<Option<Place<'_>>, Problem> {
        let Some(client) = client(request).map(network).filter(|_| self.most > 0) else {
            return Ok(None);
        };
        let mut taken = self.taken.lock().expect("no holder panics");
        let count = taken.entry(client).or_default();
        if *count >= self.most {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
            )
            .detail("Your network has too many requests under way; wait for some of them.")
            .retry_after(1));
        }
        *count += 1;
        Ok(Some(Place {
            places: self,
            client,
        }))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().expect("no holder panics");
        if let Entry::Occupied(mut count) = taken.entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
