//! When signing keys come and go.

use time::{Duration, OffsetDateTime};

/// When a key signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyAge {
    pub(crate) kid: String,
    pub(crate) active_from: OffsetDateTime,
}

/// What is to be done to the key set now. Doing nothing is the rule, so that running the job twice
/// or on two instances is harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RotationPlan {
    /// A new key is to be published that signs from then on.
    pub(crate) publish_for: Option<OffsetDateTime>,
    /// Nothing that is still good was signed with these.
    pub(crate) retire: Vec<String>,
}

/// Signers notice a new key late, and clocks differ.
const SLACK: Duration = Duration::MINUTE;

impl RotationPlan {
    /// `ahead` is how long before its first use a key is published: verifiers that hold a key set
    /// for that long have met it by then. `longest_token` is the longest life of an access token.
    pub(crate) fn make(
        mut keys: Vec<KeyAge>,
        now: OffsetDateTime,
        rotation: Duration,
        ahead: Duration,
        longest_token: Duration,
    ) -> Self {
        keys.sort_by_key(|key| key.active_from);
        let publish_for = match keys.last() {
            // Nothing can have been signed yet, and nobody can sign in until there is a key.
            None => Some(now),
            Some(newest) if newest.active_from + rotation <= now + ahead => Some(now + ahead),
            Some(_) => None,
        };
        let retire = keys
            .windows(2)
            .filter(|pair| pair[1].active_from + longest_token + SLACK <= now)
            .map(|pair| pair[0].kid.clone())
            .collect();
        Self {
            publish_for,
            retire,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.publish_for.is_none() && self.retire.is_empty()
    }
}

/// Which of the keys, given by when they become active, signs now: the newest that is active. A
/// clock that was set back may leave none; then the oldest, which verifiers have known longest.
pub(crate) fn active_key(
    active_from: impl Iterator<Item = OffsetDateTime> + Clone,
    now: OffsetDateTime,
) -> Option<usize> {
    let newest = active_from
        .clone()
        .enumerate()
        .filter(|(_, from)| *from <= now)
        .max_by_key(|(_, from)| *from);
    newest
        .or_else(|| active_from.enumerate().min_by_key(|(_, from)| *from))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATION: Duration = Duration::days(30);
    const AHEAD: Duration = Duration::minutes(15);
    const LONGEST: Duration = Duration::HOUR;

    fn at(minutes: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::minutes(minutes)
    }

    fn key(kid: &str, minutes: i64) -> KeyAge {
        KeyAge {
            kid: kid.to_owned(),
            active_from: at(minutes),
        }
    }

    fn plan(keys: &[KeyAge], minutes: i64) -> RotationPlan {
        RotationPlan::make(keys.to_vec(), at(minutes), ROTATION, AHEAD, LONGEST)
    }

    #[test]
    fn a_key_is_published_ahead_and_its_predecessor_outlives_its_tokens() {
        const MONTH: i64 = 30 * 24 * 60;
        assert_eq!(plan(&[], 0).publish_for, Some(at(0)));
        let first = [key("a", 0)];
        assert!(plan(&first, 0).is_empty());
        assert!(plan(&first, MONTH - 16).is_empty());
        assert_eq!(plan(&first, MONTH - 15).publish_for, Some(at(MONTH)));
        // Late: the new key is still published ahead of its use.
        assert_eq!(plan(&first, MONTH + 60).publish_for, Some(at(MONTH + 75)));
        let both = [key("b", MONTH), key("a", 0)];
        assert!(plan(&both, MONTH).is_empty());
        assert!(plan(&both, MONTH + 60).is_empty());
        let after = plan(&both, MONTH + 61);
        assert_eq!(after.retire, ["a"]);
        assert_eq!(after.publish_for, None);
        // The newest key never goes, however old.
        assert_eq!(plan(&first, 100 * MONTH).retire, Vec::<String>::new());
    }

    #[test]
    fn the_newest_active_key_signs() {
        let keys = [at(0), at(100), at(50)];
        let active = |minutes| active_key(keys.iter().copied(), at(minutes));
        assert_eq!(active(-10), Some(0));
        assert_eq!(active(0), Some(0));
        assert_eq!(active(99), Some(2));
        assert_eq!(active(100), Some(1));
        assert_eq!(active_key(std::iter::empty(), at(0)), None);
    }
}
