//! When a message is tried again.

use time::Duration;

/// Exponential backoff with full jitter: what failed together does not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) max: Duration,
    /// Tries before the message is given up.
    pub(crate) max_attempts: i32,
}

impl Backoff {
    /// How long to wait after the try with this number, from 1. `chance` is uniform over all of
    /// its values. Nothing when there are no more tries.
    pub(crate) fn after(&self, attempt: i32, chance: u32) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let doublings = u32::try_from(attempt - 1).unwrap_or_default().min(30);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.max);
        let milliseconds = ceiling.whole_milliseconds() * i128::from(chance) / i128::from(u32::MAX);
        // At least a second: a server that said no is not asked again in the same breath.
        let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX).max(1_000);
        Some(Duration::milliseconds(milliseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_end() {
        let backoff = Backoff {
            base: Duration::seconds(30),
            max: Duration::hours(1),
            max_attempts: 8,
        };
        let longest = |attempt| backoff.after(attempt, u32::MAX);
        assert_eq!(longest(1), Some(Duration::seconds(30)));
        assert_eq!(longest(2), Some(Duration::seconds(60)));
        assert_eq!(longest(7), Some(Duration::seconds(30 * 64)));
        assert_eq!(longest(8), None);
        assert_eq!(longest(i32::MAX), None);
        assert_eq!(backoff.after(5, 0), Some(Duration::seconds(1)));
        assert_eq!(
            backoff.after(2, u32::MAX / 2),
            Some(Duration::milliseconds(29_999))
        );
        let patient = Backoff {
            max_attempts: i32::MAX,
            ..backoff
        };
        assert_eq!(patient.after(1_000_000, u32::MAX), Some(Duration::hours(1)));
    }
}
