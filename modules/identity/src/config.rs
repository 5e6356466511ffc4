//! The section `[identity]`.

use std::{ops::RangeInclusive, thread::available_parallelism};

use kernel::module::{ConfigError, ConfigSection};
use serde::Deserialize;
use time::Duration;

use crate::{
    domain::{Locale, TimeZone},
    passwords::Cost,
    store::failures::Pauses,
};

/// As long as an access token may live at most: a signing key is kept for this long after its last
/// use, so that shortening the configured life strands no token.
pub(crate) const MAX_ACCESS_TOKEN_TTL: Duration = Duration::HOUR;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    registration_lifetime_seconds: u64,
    max_registrations_per_address: u32,
    max_code_attempts: u16,
    max_code_resends: u16,
    code_resend_pause_seconds: u64,
    registration_open: bool,
    password_sign_in: bool,
    code_lifetime_seconds: u64,
    max_codes_per_address: u32,
    free_failures_per_account: u32,
    free_failures_per_network: u32,
    longest_pause_seconds: u64,
    failures_memory_seconds: u64,
    familiar_client_days: u64,
    default_locale: String,
    default_time_zone: String,
    access_token_ttl_seconds: u64,
    session_idle_seconds: u64,
    session_lifetime_seconds: u64,
    refresh_repeat_seconds: u64,
    max_sessions_per_user: u32,
    signing_key_rotation_days: u64,
    hash_memory_kib: u32,
    hash_passes: u32,
    hash_lanes: u32,
    hash_threads: usize,
    hash_queue: usize,
    setup_code_lifetime_seconds: u64,
}

/// The section, validated.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) registration: RegistrationConfig,
    pub(crate) password_sign_in: bool,
    pub(crate) code_lifetime: Duration,
    pub(crate) max_codes_per_address: i64,
    pub(crate) guesses: GuessConfig,
    pub(crate) familiar_client_memory: Duration,
    pub(crate) default_locale: Locale,
    pub(crate) default_time_zone: TimeZone,
    pub(crate) access_token_ttl: Duration,
    pub(crate) session_idle: Duration,
    pub(crate) session_lifetime: Duration,
    pub(crate) refresh_repeat: Duration,
    pub(crate) max_sessions_per_user: i64,
    pub(crate) signing_key_rotation: Duration,
    pub(crate) hash_cost: Cost,
    pub(crate) hash_threads: usize,
    pub(crate) hash_queue: usize,
    pub(crate) setup_code_lifetime: Duration,
}

/// From where on guesses cost pauses, and how long these are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuessConfig {
    pub(crate) free_per_account: i32,
    pub(crate) free_per_network: i32,
    pub(crate) pauses: Pauses,
}

/// What bounds registrations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegistrationConfig {
    pub(crate) open: bool,
    pub(crate) lifetime: Duration,
    pub(crate) max_per_address: i64,
    pub(crate) attempts: i16,
    pub(crate) resends: i16,
    pub(crate) resend_pause: Duration,
}

impl Config {
    pub(crate) fn read(section: &ConfigSection) -> Result<Self, ConfigError> {
        let keys: Section = section.read()?;
        let bounds = Bounds(section);
        let cost = Cost {
            memory_kib: bounds.check("hash_memory_kib", keys.hash_memory_kib, 8_192..=1_048_576)?,
            passes: bounds.check("hash_passes", keys.hash_passes, 1..=16)?,
            lanes: bounds.check("hash_lanes", keys.hash_lanes, 1..=16)?,
        };
        let access_token_ttl = bounds.seconds(
            "access_token_ttl_seconds",
            keys.access_token_ttl_seconds,
            60..=MAX_ACCESS_TOKEN_TTL.whole_seconds().unsigned_abs(),
        )?;
        // A session that ends while its access token lives on would have to be denied everywhere
        // each time.
        let session_idle = bounds.seconds(
            "session_idle_seconds",
            keys.session_idle_seconds,
            keys.access_token_ttl_seconds..=TEN_YEARS,
        )?;
        let session_lifetime = bounds.seconds(
            "session_lifetime_seconds",
            keys.session_lifetime_seconds,
            keys.session_idle_seconds..=TEN_YEARS,
        )?;
        let text = |key: &str, problem: &str| section.error(format!("{key} {problem}"));
        Ok(Self {
            registration: RegistrationConfig {
                open: keys.registration_open,
                lifetime: bounds.seconds(
                    "registration_lifetime_seconds",
                    keys.registration_lifetime_seconds,
                    60..=86_400,
                )?,
                max_per_address: i64::from(bounds.check(
                    "max_registrations_per_address",
                    keys.max_registrations_per_address,
                    1..=100,
                )?),
                attempts: bounds
                    .check("max_code_attempts", keys.max_code_attempts, 1..=20)?
                    .cast_signed(),
                resends: bounds
                    .check("max_code_resends", keys.max_code_resends, 0..=20)?
                    .cast_signed(),
                resend_pause: bounds.seconds(
                    "code_resend_pause_seconds",
                    keys.code_resend_pause_seconds,
                    0..=3_600,
                )?,
            },
            password_sign_in: keys.password_sign_in,
            code_lifetime: bounds.seconds(
                "code_lifetime_seconds",
                keys.code_lifetime_seconds,
                60..=3_600,
            )?,
            max_codes_per_address: i64::from(bounds.check(
                "max_codes_per_address",
                keys.max_codes_per_address,
                1..=100,
            )?),
            guesses: GuessConfig {
                free_per_account: bounds
                    .check(
                        "free_failures_per_account",
                        keys.free_failures_per_account,
                        1..=1_000_000,
                    )?
                    .cast_signed(),
                free_per_network: bounds
                    .check(
                        "free_failures_per_network",
                        keys.free_failures_per_network,
                        1..=1_000_000,
                    )?
                    .cast_signed(),
                pauses: Pauses {
                    longest: bounds.seconds(
                        "longest_pause_seconds",
                        keys.longest_pause_seconds,
                        1..=86_400,
                    )?,
                    memory: bounds.seconds(
                        "failures_memory_seconds",
                        keys.failures_memory_seconds,
                        keys.longest_pause_seconds..=30 * 86_400,
                    )?,
                },
            },
            familiar_client_memory: Duration::days(
                bounds
                    .check("familiar_client_days", keys.familiar_client_days, 1..=3_650)?
                    .cast_signed(),
            ),
            default_locale: Locale::parse(&keys.default_locale)
                .map_err(|invalid| text("default_locale", invalid))?,
            default_time_zone: TimeZone::parse(&keys.default_time_zone)
                .map_err(|invalid| text("default_time_zone", invalid))?,
            access_token_ttl,
            session_idle,
            session_lifetime,
            refresh_repeat: bounds.seconds(
                "refresh_repeat_seconds",
                keys.refresh_repeat_seconds,
                0..=3_600,
            )?,
            max_sessions_per_user: i64::from(bounds.check(
                "max_sessions_per_user",
                keys.max_sessions_per_user,
                1..=10_000,
            )?),
            signing_key_rotation: Duration::days(
                bounds
                    .check(
                        "signing_key_rotation_days",
                        keys.signing_key_rotation_days,
                        1..=3_650,
                    )?
                    .cast_signed(),
            ),
            hash_cost: cost,
            hash_threads: match bounds.check("hash_threads", keys.hash_threads, 0..=256)? {
                0 => available_parallelism().map_or(1, usize::from),
                threads => threads,
            },
            hash_queue: bounds.check("hash_queue", keys.hash_queue, 1..=10_000)?,
            setup_code_lifetime: bounds.seconds(
                "setup_code_lifetime_seconds",
                keys.setup_code_lifetime_seconds,
                60..=604_800,
            )?,
        })
    }
}

/// Far beyond any sensible session, and far from the end of time.
const TEN_YEARS: u64 = 10 * 365 * 86_400;

struct Bounds<'a>(&'a ConfigSection);

impl Bounds<'_> {
    fn check<T: PartialOrd + std::fmt::Display + Copy>(
        &self,
        key: &str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        if range.contains(&value) {
            return Ok(value);
        }
        let (from, to) = range.into_inner();
        Err(self.0.error(format!("{key} must be {from} to {to}")))
    }

    fn seconds(
        &self,
        key: &str,
        value: u64,
        range: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        let seconds = self.check(key, value, range)?;
        Ok(Duration::seconds(seconds.cast_signed()))
    }
}

#[cfg(test)]
pub(crate) fn defaults() -> Config {
    let table = include_str!("../config.toml").parse().expect("TOML");
    Config::read(&ConfigSection::new("identity", table)).expect("the defaults are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(key: &str, value: impl Into<toml::Value>) -> Result<Config, ConfigError> {
        let mut table: toml::Table = include_str!("../config.toml").parse().expect("TOML");
        table.insert(key.to_owned(), value.into());
        Config::read(&ConfigSection::new("identity", table))
    }

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_not() {
        let config = defaults();
        assert_eq!(config.access_token_ttl, Duration::minutes(15));
        assert_eq!(config.registration.lifetime, Duration::minutes(30));
        assert!(config.hash_threads > 0);
        for (key, value) in [
            ("access_token_ttl_seconds", 0),
            ("access_token_ttl_seconds", 7_200),
            ("session_idle_seconds", 300),
            ("session_lifetime_seconds", 86_400),
            ("max_code_attempts", 0),
            ("hash_queue", 0),
            ("hash_memory_kib", 64),
            ("hash_memory_kib", -1),
            ("unknown_key", 1),
        ] {
            assert!(read_with(key, value).is_err(), "{key} = {value}");
        }
        assert!(read_with("default_locale", "english").is_err());
        assert!(read_with("default_time_zone", "Mars").is_err());
    }
}
