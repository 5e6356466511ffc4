//! The section `[profile]`.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel::{
    Secret,
    module::{ConfigError, ConfigSection},
};
use serde::Deserialize;
use url::Url;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    new_profile_wait_milliseconds: u64,
    pub(crate) avatar_max_bytes: usize,
    pub(crate) avatar_max_pixels: u64,
    pub(crate) avatar_concurrency: usize,
    pub(crate) blobs: Blobs,
    disk_path: PathBuf,
    pub(crate) s3_endpoint: String,
    pub(crate) s3_region: String,
    pub(crate) s3_bucket: String,
    pub(crate) s3_path_style: bool,
    pub(crate) s3_access_key_id: String,
    pub(crate) s3_secret_access_key: Secret,
}

/// Which store of pictures is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Blobs {
    Postgres,
    Disk,
    S3,
}

impl Config {
    pub(crate) fn read(section: &ConfigSection) -> Result<Self, ConfigError> {
        let config: Self = section.read()?;
        let bounded = |key: &str, value: u64, range: RangeInclusive<u64>| {
            let (least, most) = (range.start(), range.end());
            match range.contains(&value) {
                true => Ok(()),
                false => Err(section.error(format!("{key} must be {least} to {most}"))),
            }
        };
        let wait = config.new_profile_wait_milliseconds;
        // Each waiting request holds a slot of the server.
        bounded("new_profile_wait_milliseconds", wait, 0..=5_000)?;
        let bytes = config.avatar_max_bytes as u64;
        bounded("avatar_max_bytes", bytes, 1_000..=50_000_000)?;
        let pixels = config.avatar_max_pixels;
        bounded("avatar_max_pixels", pixels, 10_000..=200_000_000)?;
        let concurrency = config.avatar_concurrency as u64;
        bounded("avatar_concurrency", concurrency, 1..=64)?;
        match config.s3_problem().filter(|_| config.blobs == Blobs::S3) {
            Some(problem) => Err(section.error(problem)),
            None => Ok(config),
        }
    }

    fn s3_problem(&self) -> Option<String> {
        let endpoint = Url::parse(&self.s3_endpoint).ok();
        if !endpoint.is_some_and(|url| ["http", "https"].contains(&url.scheme())) {
            let example = "https://s3.eu-central-1.amazonaws.com";
            return Some(format!("s3_endpoint must be a URL such as {example}"));
        }
        let empty = [
            ("s3_region", &*self.s3_region),
            ("s3_bucket", &self.s3_bucket),
            ("s3_access_key_id", &self.s3_access_key_id),
            ("s3_secret_access_key", self.s3_secret_access_key.expose()),
        ]
        .into_iter()
        .find(|(_, value)| value.is_empty());
        empty.map(|(key, _)| format!("{key} must be set, as blobs is \"s3\""))
    }

    pub(crate) fn new_profile_wait(&self) -> Duration {
        Duration::from_millis(self.new_profile_wait_milliseconds)
    }

    pub(crate) fn disk_path(&self, data_dir: &Path) -> PathBuf {
        if self.disk_path.as_os_str().is_empty() {
            return data_dir.join("blobs");
        }
        self.disk_path.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config(overrides: &str) -> Result<Config, ConfigError> {
        let mut table: toml::Table = include_str!("../config.toml").parse().expect("TOML");
        table.extend(overrides.parse::<toml::Table>().expect("TOML"));
        Config::read(&ConfigSection::new("profile", table))
    }

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_refused_by_its_key() {
        let defaults = config("").unwrap();
        assert_eq!(defaults.new_profile_wait(), Duration::from_secs(1));
        assert_eq!(
            defaults.disk_path(Path::new("/data")),
            Path::new("/data/blobs")
        );
        for (key, value) in [
            ("new_profile_wait_milliseconds", "60000"),
            ("new_profile_wait", "1"),
            ("avatar_max_bytes", "0"),
            ("avatar_max_pixels", "1_000_000_000_000"),
            ("avatar_concurrency", "0"),
            ("blobs", "\"tape\""),
        ] {
            let error = config(&format!("{key} = {value}")).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn s3_needs_all_of_its_keys_and_shows_no_secret() {
        let keys = [
            ("s3_endpoint", "https://s3.example"),
            ("s3_region", "eu-1"),
            ("s3_bucket", "pictures"),
            ("s3_access_key_id", "ada"),
            ("s3_secret_access_key", "hunter2"),
        ];
        let without = |missing: &str| {
            let keys = keys.map(|(key, value)| {
                let value = if key == missing { "" } else { value };
                format!("{key} = \"{value}\"\n")
            });
            config(&format!("blobs = \"s3\"\n{}", keys.concat()))
        };
        let all = without("none").unwrap();
        assert!(!format!("{all:?}").contains("hunter2"));
        for (key, _) in keys {
            let error = without(key).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        assert!(config("s3_endpoint = \"not looked at\"").is_ok());
    }
}
