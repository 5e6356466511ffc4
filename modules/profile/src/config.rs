//! The section `[profile]`.

use std::time::Duration;

use kernel::module::{ConfigError, ConfigSection};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    new_profile_wait_milliseconds: u64,
}

impl Config {
    pub(crate) fn read(section: &ConfigSection) -> Result<Self, ConfigError> {
        let config: Self = section.read()?;
        // Each waiting request holds a slot of the server.
        if config.new_profile_wait_milliseconds > 5_000 {
            return Err(section.error("new_profile_wait_milliseconds must be 0 to 5000"));
        }
        Ok(config)
    }

    pub(crate) fn new_profile_wait(&self) -> Duration {
        Duration::from_millis(self.new_profile_wait_milliseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(&ConfigSection::new("profile", text.parse().expect("TOML")))
    }

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_not() {
        let config = read(include_str!("../config.toml")).unwrap();
        assert_eq!(config.new_profile_wait(), Duration::from_secs(1));
        assert!(read("new_profile_wait_milliseconds = 60000").is_err());
        assert!(read("new_profile_wait_milliseconds = 1\nnew_profile_wait = 1").is_err());
    }
}
