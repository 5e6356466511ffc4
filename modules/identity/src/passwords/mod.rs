//! Password hashing: argon2id, bounded in time, memory and number.

mod phc;
mod pool;

use std::{sync::Arc, time::Duration};

use kernel::World;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub(crate) use self::phc::{Cost, UnknownHash};
use self::{phc::Scratch, pool::Pool};
use crate::domain::Password;

/// How long a thread keeps its working memory with nothing to do. Longer than the gaps of a busy
/// service, short enough that an idle one is small.
const IDLE: Duration = Duration::from_secs(10);

/// Why a password could not be hashed now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    /// As many wait as may wait.
    #[error("too many passwords wait to be hashed")]
    Busy,
    #[error(transparent)]
    Unknown(#[from] UnknownHash),
    /// The thread that hashed died of it.
    #[error("hashing was abandoned")]
    Abandoned,
}

/// Hashes and verifies passwords on threads of its own: a hash takes a core for tens of
/// milliseconds, in which the async runtime would serve nobody.
#[derive(Clone)]
pub(crate) struct Passwords {
    pool: Arc<Pool<Scratch>>,
    /// As many as may be hashed or wait for it.
    places: Arc<Semaphore>,
    world: World,
    cost: Cost,
    /// Of no password: what is verified for an address without an account.
    decoy: Arc<str>,
}

/// A place in the queue. Taken first of all, before the database is asked for anything: under a
/// flood, who cannot be served is told so at once and costs nothing.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Passwords {
    /// `queue` jobs wait at most, beside the one that each of the `threads` works on.
    pub(crate) fn new(world: World, cost: Cost, threads: usize, queue: usize) -> Self {
        let decoy = phc::encode(cost, &world.bytes(), &world.bytes());
        Self {
            pool: Arc::new(Pool::new("password-hash", threads, IDLE)),
            places: Arc::new(Semaphore::new(threads + queue)),
            world,
            cost,
            decoy: decoy.into(),
        }
    }

    pub(crate) fn reserve(&self) -> Result<Place, HashError> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit
            .map(|_permit| Place { _permit })
            .map_err(|_| HashError::Busy)
    }

    /// The PHC string to store.
    pub(crate) async fn hash(&self, place: Place, password: Password) -> Result<String, HashError> {
        let (cost, salt) = (self.cost, self.world.bytes());
        self.on_pool(place, move |scratch| {
            phc::hash(scratch, cost, &salt, &password)
        })
        .await
    }

    /// Was it hashed at another cost than is configured now?
    pub(crate) fn is_outdated(&self, stored: &str) -> bool {
        !phc::has_cost(stored, self.cost)
    }

    /// Is it the password of this hash? Without a hash it takes as long to say no.
    pub(crate) async fn verify(
        &self,
        place: Place,
        password: Password,
        stored: Option<String>,
    ) -> Result<bool, HashError> {
        let known = stored.is_some();
        let stored: Arc<str> = stored.map_or_else(|| Arc::clone(&self.decoy), Into::into);
        let matches = self
            .on_pool(place, move |scratch| {
                phc::verify(scratch, &stored, &password)
            })
            .await??;
        Ok(matches && known)
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let (reply, result) = oneshot::channel();
        let job = move |scratch: &mut Scratch| {
            // The caller may be gone, its request timed out or its client hung up: under a flood,
            // hashing for the departed is what keeps the rest waiting.
            if !reply.is_closed() {
                let _ = reply.send(work(scratch));
            }
            drop(place);
        };
        self.pool.submit(Box::new(job));
        result.await.map_err(|_| HashError::Abandoned)
    }
}

#[cfg(test)]
mod tests {
    use kernel::Secret;

    use super::*;

    pub(super) const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    fn passwords(threads: usize, queue: usize) -> Passwords {
        Passwords::new(World::system(), CHEAP, threads, queue)
    }

    impl Passwords {
        async fn hash_now(&self, text: &str) -> String {
            let place = self.reserve().expect("a place");
            self.hash(place, password(text)).await.expect("a hash")
        }

        async fn verify_now(&self, text: &str, stored: Option<&str>) -> Result<bool, HashError> {
            let place = self.reserve().expect("a place");
            self.verify(place, password(text), stored.map(str::to_owned))
                .await
        }
    }

    fn password(text: &str) -> Password {
        Password::typed(&Secret::new(text)).expect("short enough")
    }

    #[tokio::test]
    async fn only_the_password_itself_verifies() {
        let passwords = passwords(2, 8);
        let hash = passwords.hash_now("correct horse").await;
        let again = passwords.hash_now("correct horse").await;
        assert_ne!(hash, again, "salted");
        for (text, stored, right) in [
            ("correct horse", Some(&*hash), true),
            ("correct horse", Some(&*again), true),
            ("Correct horse", Some(&*hash), false),
            ("", Some(&*hash), false),
            ("correct horse", None, false),
        ] {
            let verified = passwords.verify_now(text, stored).await;
            assert_eq!(verified.unwrap(), right, "{text}");
        }
        let broken = passwords.verify_now("x", Some("$2b$12$x")).await;
        assert!(matches!(broken, Err(HashError::Unknown(_))));
    }

    #[tokio::test]
    async fn an_unknown_address_costs_what_a_known_one_does() {
        let passwords = passwords(1, 8);
        let hash = passwords.hash_now("correct horse").await;
        let head = |phc: &str| phc.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(head(&hash), head(&passwords.decoy));
        assert_eq!(hash.len(), passwords.decoy.len());
    }

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let passwords = passwords(1, 2);
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let mut working = Box::pin(passwords.on_pool(passwords.reserve().unwrap(), move |_| {
            blocked.recv().is_ok()
        }));
        assert!(poll_once(working.as_mut()).is_none());
        let waiting = [passwords.reserve().unwrap(), passwords.reserve().unwrap()];
        assert!(matches!(passwords.reserve(), Err(HashError::Busy)));
        // Who leaves makes room, also before anything was hashed.
        drop(waiting);
        let waiting = [passwords.reserve().unwrap(), passwords.reserve().unwrap()];
        assert!(passwords.reserve().is_err());
        release.send(()).unwrap();
        assert!(working.await.unwrap());
        for place in waiting {
            passwords.hash(place, password("x")).await.unwrap();
        }
        passwords.verify_now("x", None).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_hashes_for_the_departed() {
        let passwords = passwords(1, 8);
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let place = || passwords.reserve().unwrap();
        let mut first = Box::pin(passwords.on_pool(place(), move |_| blocked.recv().is_ok()));
        let (ran, told) = std::sync::mpsc::channel::<()>();
        let mut departed = Box::pin(passwords.on_pool(place(), move |_| ran.send(())));
        // Polled once, both are in the queue.
        assert!(poll_once(first.as_mut()).is_none());
        assert!(poll_once(departed.as_mut()).is_none());
        drop(departed);
        release.send(()).unwrap();
        assert!(first.await.unwrap());
        passwords.on_pool(place(), |_| ()).await.unwrap();
        assert!(told.try_recv().is_err());
    }

    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
