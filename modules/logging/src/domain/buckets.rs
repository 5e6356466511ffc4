//! A range of time in equal parts, for counting.

use time::{Duration, OffsetDateTime};

use super::range::TimeRange;

/// A picture on a phone has room for no more.
pub(crate) const MAX_BUCKETS: usize = 60;

/// Lengths that people can read off, in seconds: up to a quarter of a year.
const WIDTHS: [i64; 25] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 345_600, 604_800, 1_209_600, 2_592_000, 5_184_000, 7_776_000,
];

/// Parts that begin at whole multiples of their length since 1970, as PostgreSQL's `date_bin` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) width: Duration,
    first: i64,
    last: i64,
}

impl Buckets {
    /// As many as fit.
    pub(crate) fn of(range: TimeRange) -> Self {
        let from = range.from.unix_timestamp();
        // The last moment of the range, which its end is not part of.
        let to = (range.to - Duration::MICROSECOND)
            .unix_timestamp()
            .max(from);
        let fits = |width: &i64| {
            let count = to.div_euclid(*width) - from.div_euclid(*width) + 1;
            usize::try_from(count).is_ok_and(|count| count <= MAX_BUCKETS)
        };
        let longest = (to - from) / (MAX_BUCKETS as i64 - 1) + 1;
        let width = WIDTHS.into_iter().find(fits).unwrap_or(longest);
        Self {
            width: Duration::seconds(width),
            first: from.div_euclid(width),
            last: to.div_euclid(width),
        }
    }

    /// When each begins.
    pub(crate) fn starts(self) -> impl Iterator<Item = OffsetDateTime> {
        let width = self.width.whole_seconds();
        (self.first..=self.last)
            .filter_map(move |n| OffsetDateTime::from_unix_timestamp(n.checked_mul(width)?).ok())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_hour_is_counted_by_the_minute_or_two() {
        let to = datetime!(2026-05-02 12:00 UTC);
        let range = |length| TimeRange {
            from: to - length,
            to,
        };
        for (length, width) in [
            (Duration::minutes(15), Duration::seconds(15)),
            (Duration::HOUR, Duration::MINUTE),
            (Duration::DAY, Duration::minutes(30)),
            (Duration::WEEK, Duration::hours(3)),
        ] {
            let buckets = Buckets::of(range(length));
            assert_eq!(buckets.width, width);
            assert_eq!(buckets.starts().next(), Some(to - length));
        }
    }

    proptest! {
        #[test]
        fn every_moment_has_a_bucket_and_there_are_not_many(
            from in -60_000_000_000_i64..200_000_000_000,
            length in 1_i64..20_000_000_000,
        ) {
            let at = |second| OffsetDateTime::from_unix_timestamp(second).unwrap();
            let range = TimeRange { from: at(from), to: at(from + length) };
            let buckets = Buckets::of(range);
            let starts: Vec<_> = buckets.starts().collect();
            prop_assert!(starts.len() <= MAX_BUCKETS);
            prop_assert!(starts[0] <= range.from);
            let end = *starts.last().unwrap() + buckets.width;
            prop_assert!(end >= range.to);
        }
    }
}
