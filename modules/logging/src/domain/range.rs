//! Ranges of time that a search goes through.

use time::{Duration, OffsetDateTime};

/// From (inclusive) to (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
}

/// The newest records of a busy installation fill a page with this much.
const FIRST_STEP: Duration = Duration::seconds(10);
const GROWTH: i32 = 10;

impl TimeRange {
    /// Pieces of the range, newest first, each ten times as long as the one before.
    ///
    /// No index holds all records in the order of time. To look at the last seconds, then further
    /// back while the page has room, spares sorting a whole day for its last fifty records; and as
    /// the pieces do not overlap, a rare text costs what one pass through the range costs.
    ///
    /// What lies after `now` belongs to the first piece: it is little, if anything.
    pub(crate) fn newest_first(self, now: OffsetDateTime) -> impl Iterator<Item = Self> {
        let mut to = self.to;
        let mut anchor = self.to.min(now);
        let mut step = FIRST_STEP;
        std::iter::from_fn(move || {
            if to <= self.from {
                return None;
            }
            let from = anchor.saturating_sub(step).max(self.from).min(to);
            let piece = Self { from, to };
            (to, anchor, step) = (from, from, step.saturating_mul(GROWTH));
            Some(piece)
        })
        .filter(|piece| piece.from < piece.to)
    }

    /// The same from the oldest on.
    pub(crate) fn oldest_first(self) -> impl Iterator<Item = Self> {
        let mut from = self.from;
        let mut step = FIRST_STEP;
        std::iter::from_fn(move || {
            let to = from.saturating_add(step).min(self.to);
            let piece = Self { from, to };
            (from, step) = (to, step.saturating_mul(GROWTH));
            (piece.from < piece.to).then_some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_day_is_gone_through_in_five_pieces() {
        let now = datetime!(2026-05-02 12:00 UTC);
        let day = TimeRange {
            from: now - Duration::DAY,
            to: now + Duration::DAY,
        };
        let pieces: Vec<_> = day.newest_first(now).map(|p| now - p.from).collect();
        assert_eq!(
            pieces,
            [
                Duration::seconds(10),
                Duration::seconds(110),
                Duration::seconds(1_110),
                Duration::seconds(11_110),
                Duration::DAY
            ]
        );
    }

    proptest! {
        #[test]
        fn pieces_follow_each_other_without_a_gap(
            from in -100_000_000_i64..100_000_000,
            length in 0_i64..400_000_000,
            now in -200_000_000_i64..200_000_000,
        ) {
            let at = |s| OffsetDateTime::from_unix_timestamp(s).unwrap();
            let range = TimeRange { from: at(from), to: at(from + length) };
            let mut to = range.to;
            for piece in range.newest_first(at(now)) {
                prop_assert_eq!(piece.to, to);
                prop_assert!(piece.from < piece.to);
                to = piece.from;
            }
            prop_assert_eq!(to, range.from);
            let mut from = range.from;
            for piece in range.oldest_first() {
                prop_assert_eq!(piece.from, from);
                prop_assert!(piece.from < piece.to);
                from = piece.to;
            }
            prop_assert_eq!(from, range.to);
        }
    }
}
