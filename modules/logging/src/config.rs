//! The section `[logging]`.

use std::{ops::RangeInclusive, time::Duration};

use kernel::module::{ConfigError, ConfigSection};
use serde::Deserialize;

use crate::domain::MAX_BATCH_RECORDS;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Log records, by day; the audit trail is kept for good.
    pub(crate) retention_days: i32,
    pub(crate) batch_records: usize,
    batch_wait_milliseconds: u64,
    pub(crate) otlp_max_bytes: usize,
    pub(crate) otlp_concurrency: usize,
    search_timeout_seconds: u64,
    /// Live tails of one process.
    pub(crate) tails_total: usize,
}

impl Config {
    pub(crate) fn read(section: &ConfigSection) -> Result<Self, ConfigError> {
        let config: Self = section.read()?;
        let refuse = |key: &str, range: RangeInclusive<u64>| {
            Err(section.error(format!(
                "{key} must be {} to {}",
                range.start(),
                range.end()
            )))
        };
        // The functions of the schema hold to the same bound.
        if !(1..=3_650).contains(&config.retention_days) {
            return refuse("retention_days", 1..=3_650);
        }
        if !(1..=MAX_BATCH_RECORDS).contains(&config.batch_records) {
            return refuse("batch_records", 1..=MAX_BATCH_RECORDS as u64);
        }
        if !(10..=60_000).contains(&config.batch_wait_milliseconds) {
            return refuse("batch_wait_milliseconds", 10..=60_000);
        }
        if !(1_024..=67_108_864).contains(&config.otlp_max_bytes) {
            return refuse("otlp_max_bytes", 1_024..=67_108_864);
        }
        if !(1..=64).contains(&config.otlp_concurrency) {
            return refuse("otlp_concurrency", 1..=64);
        }
        if !(1..=60).contains(&config.search_timeout_seconds) {
            return refuse("search_timeout_seconds", 1..=60);
        }
        if !(1..=1_000).contains(&config.tails_total) {
            return refuse("tails_total", 1..=1_000);
        }
        Ok(config)
    }

    pub(crate) fn batch_wait(&self) -> Duration {
        Duration::from_millis(self.batch_wait_milliseconds)
    }

    pub(crate) fn search_timeout(&self) -> Duration {
        Duration::from_secs(self.search_timeout_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(&ConfigSection::new("logging", text.parse().expect("TOML")))
    }

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_not() {
        let defaults = include_str!("../config.toml");
        let config = read(defaults).unwrap();
        assert_eq!(config.retention_days, 14);
        assert_eq!(config.batch_wait(), Duration::from_millis(200));
        assert_eq!(config.search_timeout(), Duration::from_secs(5));
        for (good, bad) in [
            ("retention_days = 14", "retention_days = 0"),
            ("retention_days = 14", "retention_days = 4000"),
            ("batch_records = 5000", "batch_records = 8193"),
            (
                "batch_wait_milliseconds = 200",
                "batch_wait_milliseconds = 0",
            ),
            ("otlp_max_bytes = 4_194_304", "otlp_max_bytes = 1_000"),
            ("otlp_concurrency = 4", "otlp_concurrency = 0"),
            ("search_timeout_seconds = 5", "search_timeout_seconds = 0"),
            ("search_timeout_seconds = 5", "search_timeout = 5"),
            ("tails_total = 20", "tails_total = 0"),
        ] {
            assert!(defaults.contains(good), "{good}");
            assert!(read(&defaults.replace(good, bad)).is_err(), "{bad}");
        }
    }
}
