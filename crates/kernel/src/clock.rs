//! Time and randomness are passed in, so that a test decides both.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The wall clock, in UTC.
pub trait Clock: Send + Sync {
    fn now(&self) -> OffsetDateTime;
}

pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// The system's time plus an offset that a test sets: it moves only forward unless told otherwise,
/// and stays near the database's own clock, which leases use.
#[derive(Default)]
pub struct TestClock {
    offset_seconds: AtomicI64,
}

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.offset_seconds
            .fetch_add(by.whole_seconds(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + Duration::seconds(self.offset_seconds.load(Ordering::SeqCst))
    }
}

/// A source of unpredictable bytes.
pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the operating system's random source is available");
    }
}

/// Repeatable bytes for tests.
pub struct SeededRandom(Mutex<StdRng>);

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("no holder panics").fill_bytes(bytes);
    }
}

/// What a module may not take from the air: the time and chance.
#[derive(Clone)]
pub struct World {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

impl World {
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }

    /// Now, cut to microseconds: what PostgreSQL stores is what was hashed or compared.
    pub fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_nanosecond(now.microsecond() * 1_000)
            .expect("in range")
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// A UUIDv7 (RFC 9562 §5.7): sorts by time of creation.
    pub fn uuid(&self) -> Uuid {
        let millis = self.now().unix_timestamp_nanos() / 1_000_000;
        uuid::Builder::from_unix_timestamp_millis(
            u64::try_from(millis).unwrap_or_default(),
            &self.bytes(),
        )
        .into_uuid()
    }

    /// A uniform number below `bound`, by rejection: a remainder would favour small numbers.
    pub fn below(&self, bound: u32) -> u32 {
        assert!(bound > 0, "a bound of zero has no numbers below it");
        let zone = u32::MAX - u32::MAX % bound;
        loop {
            let n = u32::from_le_bytes(self.bytes());
            if n < zone {
                return n % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_seven_and_sort_by_time() {
        let clock = Arc::new(TestClock::default());
        let world = World {
            clock: clock.clone(),
            random: Arc::new(SeededRandom::new(1)),
        };
        let first = world.uuid();
        clock.advance(Duration::seconds(1));
        let second = world.uuid();
        assert_eq!(first.get_version_num(), 7);
        assert!(first < second);
    }

    #[test]
    fn below_covers_its_range() {
        let world = World {
            clock: Arc::new(SystemClock),
            random: Arc::new(SeededRandom::new(7)),
        };
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[world.below(10) as usize] = true;
        }
        assert!(seen.iter().all(|s| *s));
    }
}
