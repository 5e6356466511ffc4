//! Is an address worth a try? What it answered lately says so.
//!
//! Closed: requests pass. Open: none does, for a time that doubles. Then a few trials pass: the
//! first failure opens it again, successes alone close it. Beside that, an address whose health is
//! asked for and is bad takes no request until it is good again.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::{Breaker as Settings, Health};

const BUCKETS: usize = 10;

/// What a look at an address's health said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    Good,
    /// It answered that it is not well, or nobody listens there.
    Bad,
    /// No answer in time, or a broken one: busy, perhaps.
    Silent,
}

/// How a request ended for the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// No connection, or one that broke.
    Broken,
    /// It took too long, or answered that it cannot answer.
    Failed,
    /// Ended for a reason that is not the address's: nothing is known.
    Unknown,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        until: Instant,
        /// Not reached at all: a good health check is proof enough that it can be.
        broken: bool,
    },
    Trial {
        out: u32,
        good: u32,
    },
}

#[derive(Debug)]
pub(crate) struct Breaker {
    settings: Settings,
    failures_to_be_down: u32,
    state: State,
    window: Window,
    broken_in_a_row: u32,
    /// How often it opened since it was last well for long.
    times: u32,
    closed_at: Instant,
    bad_health: u32,
    down_since: Option<Instant>,
}

/// May a request pass?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Free,
    /// Its outcome decides.
    Trial,
    /// Not before this time; unknown while health is bad.
    Shut(Option<Instant>),
}

impl Breaker {
    pub(crate) fn new(settings: &Settings, health: &Health, now: Instant) -> Self {
        Self {
            window: Window::new(Duration::from_secs(settings.window_seconds), now),
            settings: settings.clone(),
            failures_to_be_down: health.failures,
            state: State::Closed,
            broken_in_a_row: 0,
            times: 0,
            closed_at: now,
            bad_health: 0,
            down_since: None,
        }
    }

    /// What [`pass`](Self::pass) would answer; changes nothing.
    pub(crate) fn look(&self, now: Instant) -> Passage {
        if self.is_unhealthy() {
            return Passage::Shut(None);
        }
        match self.state {
            State::Closed => Passage::Free,
            State::Open { until, .. } if now < until => Passage::Shut(Some(until)),
            State::Trial { out, .. } if out >= self.settings.trials => Passage::Shut(None),
            State::Open { .. } | State::Trial { .. } => Passage::Trial,
        }
    }

    /// Lets a request pass or not; whatever passed is to be [`record`](Self::record)ed.
    pub(crate) fn pass(&mut self, now: Instant) -> Passage {
        let passage = self.look(now);
        if passage == Passage::Trial {
            match &mut self.state {
                State::Trial { out, .. } => *out += 1,
                state => *state = State::Trial { out: 1, good: 0 },
            }
        }
        passage
    }

    pub(crate) fn record(&mut self, now: Instant, trial: bool, outcome: Outcome) {
        match &mut self.state {
            State::Closed => self.count(now, outcome),
            // The answer to a question asked before it opened.
            State::Open { .. } => {}
            State::Trial { .. } if !trial => {}
            State::Trial { out, good } => match outcome {
                Outcome::Unknown => *out = out.saturating_sub(1),
                Outcome::Broken | Outcome::Failed => self.open(now, outcome == Outcome::Broken),
                Outcome::Good => {
                    *good += 1;
                    if *good >= self.settings.trials {
                        self.close(now);
                    }
                }
            },
        }
    }

    fn count(&mut self, now: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Unknown => return,
            Outcome::Broken => self.broken_in_a_row += 1,
            Outcome::Good | Outcome::Failed => self.broken_in_a_row = 0,
        }
        let (requests, failures) = self.window.add(now, outcome != Outcome::Good);
        let broken = self.broken_in_a_row >= self.settings.broken_in_a_row;
        let enough = requests >= self.settings.min_requests;
        let failing = u64::from(failures) * 100
            >= u64::from(requests) * u64::from(self.settings.error_percent);
        if broken || (enough && failing && outcome != Outcome::Good) {
            self.open(now, broken);
        }
    }

    fn open(&mut self, now: Instant, broken: bool) {
        let longest = Duration::from_secs(self.settings.max_open_seconds);
        if self.down_since.is_none() && now - self.closed_at > longest {
            self.times = 0;
        }
        let first = Duration::from_secs(self.settings.open_seconds);
        let time = first.saturating_mul(1 << self.times.min(16)).min(longest);
        // Processes that lost it together do not come back to it together.
        let time = time.mul_f64(rand::random_range(0.75..1.25));
        self.times += 1;
        self.down_since.get_or_insert(now);
        self.state = State::Open {
            until: now + time,
            broken,
        };
    }

    fn close(&mut self, now: Instant) {
        self.state = State::Closed;
        self.window.clear();
        self.broken_in_a_row = 0;
        self.closed_at = now;
        if !self.is_unhealthy() {
            self.down_since = None;
        }
    }

    /// What a look at its health said.
    pub(crate) fn probed(&mut self, now: Instant, health: Probed) {
        if health != Probed::Good {
            self.bad_health = match health {
                // It says so itself, or is not there: no need to ask again.
                Probed::Bad => self.failures_to_be_down.max(self.bad_health),
                _ => self.bad_health.saturating_add(1),
            };
            if self.is_unhealthy() {
                self.down_since.get_or_insert(now);
            }
            return;
        }
        self.bad_health = 0;
        match self.state {
            State::Open { broken: true, .. } => self.close(now),
            State::Closed => self.down_since = None,
            State::Open { .. } | State::Trial { .. } => {}
        }
    }

    pub(crate) fn is_unhealthy(&self) -> bool {
        self.bad_health >= self.failures_to_be_down
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    pub(crate) fn down_since(&self) -> Option<Instant> {
        self.down_since
    }
}

/// Requests and failures of the last seconds, in buckets.
#[derive(Debug)]
struct Window {
    bucket: Duration,
    started: Instant,
    /// The number of the newest bucket since `started`.
    newest: u64,
    counts: [(u32, u32); BUCKETS],
}

impl Window {
    fn new(length: Duration, now: Instant) -> Self {
        Self {
            bucket: length / BUCKETS as u32,
            started: now,
            newest: 0,
            counts: [(0, 0); BUCKETS],
        }
    }

    /// Counts one, and returns the sums.
    fn add(&mut self, now: Instant, failed: bool) -> (u32, u32) {
        let current = (now - self.started).as_nanos() / self.bucket.as_nanos();
        let current = u64::try_from(current).unwrap_or(u64::MAX);
        for number in (self.newest + 1..=current).take(BUCKETS) {
            self.counts[number as usize % BUCKETS] = (0, 0);
        }
        self.newest = current.max(self.newest);
        let (requests, failures) = &mut self.counts[self.newest as usize % BUCKETS];
        *requests += 1;
        *failures += u32::from(failed);
        self.counts
            .iter()
            .fold((0, 0), |sum, bucket| (sum.0 + bucket.0, sum.1 + bucket.1))
    }

    fn clear(&mut self) {
        self.counts = [(0, 0); BUCKETS];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        let now = Instant::now();
        (
            Breaker::new(&Settings::default(), &Health::default(), now),
            now,
        )
    }

    fn feed(breaker: &mut Breaker, now: Instant, outcomes: &[(usize, Outcome)]) {
        for (times, outcome) in outcomes {
            for _ in 0..*times {
                breaker.record(now, false, *outcome);
            }
        }
    }

    /// The longest time that it stays open for the first time, jitter included.
    const FIRST: Duration = Duration::from_millis(1_250);

    #[test]
    fn too_few_requests_prove_nothing() {
        let (mut breaker, now) = breaker();
        feed(&mut breaker, now, &[(19, Outcome::Failed)]);
        assert_eq!(breaker.look(now), Passage::Free);
        feed(&mut breaker, now, &[(1, Outcome::Failed)]);
        assert!(matches!(breaker.look(now), Passage::Shut(Some(_))));
    }

    #[test]
    fn half_of_them_must_fail_within_the_window() {
        let (mut breaker, now) = breaker();
        feed(
            &mut breaker,
            now,
            &[(100, Outcome::Good), (99, Outcome::Failed)],
        );
        assert_eq!(breaker.look(now), Passage::Free);
        // Long ago.
        let now = now + 11 * SECOND;
        feed(&mut breaker, now, &[(19, Outcome::Failed)]);
        assert_eq!(breaker.look(now), Passage::Free);
        feed(&mut breaker, now, &[(1, Outcome::Failed)]);
        assert!(breaker.is_open());
    }

    #[test]
    fn the_window_slides() {
        let (mut breaker, now) = breaker();
        for second in 0..60 {
            feed(&mut breaker, now + second * SECOND, &[(1, Outcome::Failed)]);
        }
        assert!(!breaker.is_open(), "ten in the last ten seconds");
    }

    #[test]
    fn broken_connections_in_a_row_are_enough() {
        let (mut breaker, now) = breaker();
        feed(
            &mut breaker,
            now,
            &[
                (4, Outcome::Broken),
                (1, Outcome::Good),
                (4, Outcome::Broken),
            ],
        );
        assert_eq!(breaker.look(now), Passage::Free);
        feed(&mut breaker, now, &[(1, Outcome::Broken)]);
        assert!(breaker.is_open());
        // A good health check says that it can be reached again.
        breaker.probed(now, Probed::Good);
        assert_eq!(breaker.look(now), Passage::Free);
        assert_eq!(breaker.down_since(), None);
    }

    #[test]
    fn trials_decide_and_are_few() {
        let (mut breaker, now) = breaker();
        feed(&mut breaker, now, &[(20, Outcome::Failed)]);
        breaker.probed(now, Probed::Good);
        assert!(
            breaker.is_open(),
            "it fails at work, whatever its health says"
        );
        let later = now + FIRST;
        for _ in 0..3 {
            assert_eq!(breaker.pass(later), Passage::Trial);
        }
        assert_eq!(breaker.pass(later), Passage::Shut(None));
        // One was cancelled: another may try.
        breaker.record(later, true, Outcome::Unknown);
        assert_eq!(breaker.pass(later), Passage::Trial);
        for _ in 0..3 {
            assert!(breaker.is_open());
            breaker.record(later, true, Outcome::Good);
        }
        assert_eq!(breaker.pass(later), Passage::Free);
    }

    #[test]
    fn each_time_in_a_row_lasts_longer() {
        let (mut breaker, mut now) = breaker();
        feed(&mut breaker, now, &[(20, Outcome::Failed)]);
        let mut times = Vec::new();
        for _ in 0..8 {
            let Passage::Shut(Some(until)) = breaker.look(now) else {
                panic!("it is open");
            };
            times.push((until - now).as_secs_f64());
            now = until;
            assert_eq!(breaker.pass(now), Passage::Trial);
            breaker.record(now, true, Outcome::Failed);
        }
        for (time, base) in times
            .iter()
            .zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0])
        {
            assert!((base * 0.75..=base * 1.25).contains(time), "{times:?}");
        }
    }

    #[test]
    fn bad_health_shuts_it_and_good_health_opens_it() {
        let (mut breaker, now) = breaker();
        breaker.probed(now, Probed::Silent);
        breaker.probed(now, Probed::Silent);
        assert_eq!(breaker.pass(now), Passage::Free);
        breaker.probed(now, Probed::Silent);
        assert_eq!(breaker.pass(now), Passage::Shut(None));
        assert_eq!(breaker.down_since(), Some(now));
        breaker.probed(now, Probed::Good);
        assert_eq!(breaker.pass(now), Passage::Free);
        assert_eq!(breaker.down_since(), None);
        breaker.probed(now, Probed::Bad);
        assert_eq!(breaker.pass(now), Passage::Shut(None), "at once");
    }
}
