//! Guesses get slower: failures in a row at one account, or from one network, cost pauses that double.
//!
//! They are counted in the database, for all instances. While few have failed, a guess is counted once
//! it was wrong, so that who knows their password pays nothing for this; as soon as failures cost
//! pauses, it is counted before it is tried, so that many at once get no more than one. An account has
//! a count for strangers and one for each client that it was used from before: strangers who guess do
//! not keep its owner out.

use std::net::IpAddr;

use kernel::{RequestContext, secret::Key};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    config::GuessConfig,
    domain::Device,
    http::error::Error,
    store::{
        self,
        failures::{Counter, Pauses},
    },
};

/// What a guess at an account counts against.
#[derive(Clone, Debug)]
pub(crate) struct Guess {
    account: Counter,
    /// None when it is not known from where the request comes.
    network: Option<Counter>,
    /// Was it counted as a failure already, to be taken back if it is right?
    counted: bool,
}

impl Guess {
    /// A guess at what only the holder of the address knows; `kind` tells passwords from codes.
    pub(crate) fn at(
        key: &Key,
        config: GuessConfig,
        kind: &str,
        email_canonical: &str,
        familiar: Option<&[u8; 32]>,
    ) -> Self {
        let whose = familiar.map_or(&[][..], |client| client);
        let address = RequestContext::with(|context| context.client.as_ref()?.address).flatten();
        Self {
            account: Counter {
                key: key.mac(&[kind.as_bytes(), email_canonical.as_bytes(), whose]),
                free: config.free_per_account,
            },
            network: address.map(|address| Counter {
                key: network_key(key, address),
                free: config.free_per_network,
            }),
            counted: false,
        }
    }

    fn counters(&self) -> Vec<Counter> {
        let network = self.network.iter();
        network.chain([&self.account]).cloned().collect()
    }

    /// Counts the guess before it is tried; refuses it while a pause lasts. Commits for itself.
    pub(crate) async fn reserve(
        &mut self,
        db: &kernel::Db,
        pauses: Pauses,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let counters = self.counters();
        let mut tx = db.begin().await?;
        if store::failures::count(&mut tx, &counters, pauses, now).await? {
            tx.commit().await?;
            self.counted = true;
            return Ok(());
        }
        let until = store::failures::blocked_until(&mut tx, &counters, now).await?;
        Err(too_many(until, now))
    }

    /// Until when no guess is allowed, if it is not now.
    pub(crate) async fn blocked_until(
        &self,
        conn: &mut PgConnection,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, sqlx::Error> {
        store::failures::blocked_until(conn, &self.counters(), now).await
    }

    /// It was wrong. The caller commits.
    pub(crate) async fn failed(
        &self,
        conn: &mut PgConnection,
        pauses: Pauses,
        now: OffsetDateTime,
    ) -> Result<(), sqlx::Error> {
        if !self.counted {
            // One that came while a pause began elsewhere is not counted: that guess had its answer.
            store::failures::count(conn, &self.counters(), pauses, now).await?;
        }
        Ok(())
    }

    /// It was right: the account's count ends, and the network loses what this guess cost it.
    pub(crate) async fn succeeded(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        store::failures::forget(conn, &self.account.key).await?;
        if let Some(network) = self.network.as_ref().filter(|_| self.counted) {
            store::failures::take_back(conn, &network.key).await?;
        }
        Ok(())
    }

    pub(crate) fn account_key(&self) -> &[u8; 32] {
        &self.account.key
    }

    pub(crate) fn network_key(&self) -> Option<&[u8; 32]> {
        self.network.as_ref().map(|network| &network.key)
    }
}

pub(crate) fn too_many(until: Option<OffsetDateTime>, now: OffsetDateTime) -> Error {
    let wait = until.map_or(1.0, |until| (until - now).as_seconds_f64().ceil());
    Error::TooManyAttempts {
        retry_after: wait.max(1.0) as u32,
    }
}

/// One client has all of an IPv6 /64.
fn network_key(key: &Key, address: IpAddr) -> [u8; 32] {
    let network = kernel::principal::network(address).to_string();
    key.mac(&[b"network", network.as_bytes()])
}

/// The device that the present request comes from.
pub(crate) fn device() -> Device {
    RequestContext::with(|context| Device::of(context.client.as_ref())).unwrap_or_default()
}
