//! The section `[notification]`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use kernel::{
    Secret,
    module::{ConfigError, ConfigSection},
};
use serde::Deserialize;

use crate::domain::{Backoff, MailAddress};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    mailer: MailerChoice,
    pub(crate) from_address: String,
    from_name: String,
    pub(crate) smtp_host: String,
    smtp_port: u16,
    pub(crate) smtp_tls: SmtpTls,
    smtp_ca_file: PathBuf,
    smtp_username: String,
    smtp_password: Secret,
    smtp_password_file: PathBuf,
    smtp_timeout_seconds: u64,
    pub(crate) send_concurrency: u32,
    max_attempts: i32,
    retry_base_seconds: u32,
    retry_max_seconds: u32,
    message_lifetime_seconds: u32,
    address_taken_interval_seconds: u32,
    delivery_retention_days: u16,
    notification_retention_days: u16,
    bounce_suppression_days: u16,
    pub(crate) mailbox_max_messages: u32,
    pub(crate) streams_per_user: usize,
    pub(crate) streams_total: usize,
    stream_max_seconds: u64,
    stream_reread_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MailerChoice {
    Auto,
    Smtp,
    Mailbox,
    None,
}

/// What the choice comes to in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailerKind {
    Smtp,
    Mailbox,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SmtpTls {
    None,
    Starttls,
    Implicit,
}

impl Config {
    pub(crate) fn read(section: &ConfigSection) -> Result<Self, ConfigError> {
        let config: Self = section.read()?;
        match config.problem() {
            Some(problem) => Err(section.error(problem)),
            None => Ok(config),
        }
    }

    fn problem(&self) -> Option<&'static str> {
        let smtp = self.mailer == MailerChoice::Smtp
            || (self.mailer == MailerChoice::Auto && !self.smtp_host.is_empty());
        let local = ["localhost", "127.0.0.1", "::1"].contains(&self.smtp_host.as_str());
        let signs_in = !self.smtp_username.is_empty();
        let has_password = !self.smtp_password.expose().is_empty();
        let has_file = self.smtp_password_file().is_some();
        let checks = [
            (
                smtp && self.smtp_host.is_empty(),
                "mailer is \"smtp\", and smtp_host is not set; \
                 an installation that sends no mail says mailer = \"none\"",
            ),
            (
                smtp && MailAddress::parse(&self.from_address).is_none(),
                "from_address must be a mail address, such as no-reply@example.org",
            ),
            (
                !self.from_address.is_empty() && MailAddress::parse(&self.from_address).is_none(),
                "from_address must be a mail address, such as no-reply@example.org",
            ),
            (
                self.from_name.chars().count() > 60 || self.from_name.chars().any(char::is_control),
                "from_name must be a line of at most 60 characters",
            ),
            (
                signs_in && self.smtp_tls == SmtpTls::None && !local,
                "smtp_tls = \"none\" would send the password for all to read; \
                 use \"starttls\" or \"implicit\"",
            ),
            (
                signs_in && has_password == has_file,
                "smtp_username needs either smtp_password or smtp_password_file",
            ),
            (
                !signs_in && (has_password || has_file),
                "smtp_password and smtp_password_file need smtp_username",
            ),
            (
                !(1..=300).contains(&self.smtp_timeout_seconds),
                "smtp_timeout_seconds must be 1 to 300",
            ),
            (
                !(1..=64).contains(&self.send_concurrency),
                "send_concurrency must be 1 to 64",
            ),
            (
                !(1..=100).contains(&self.max_attempts),
                "max_attempts must be 1 to 100",
            ),
            (
                self.retry_base_seconds == 0 || self.retry_max_seconds < self.retry_base_seconds,
                "retry_base_seconds must be at least 1, retry_max_seconds no less than it",
            ),
            (
                self.message_lifetime_seconds == 0 || self.address_taken_interval_seconds == 0,
                "message_lifetime_seconds and address_taken_interval_seconds must be at least 1",
            ),
            (
                self.delivery_retention_days == 0 || self.notification_retention_days == 0,
                "delivery_retention_days and notification_retention_days must be at least 1",
            ),
            (
                self.bounce_suppression_days == 0,
                "bounce_suppression_days must be at least 1",
            ),
            (
                // An event that comes late must still find that its message was sent.
                self.delivery_retention() <= self.message_lifetime(),
                "delivery_retention_days must be more than message_lifetime_seconds",
            ),
            (
                self.streams_per_user == 0 || self.streams_total == 0,
                "streams_per_user and streams_total must be at least 1",
            ),
            (
                self.stream_max_seconds == 0,
                "stream_max_seconds must be at least 1",
            ),
            (
                !(1..=60).contains(&self.stream_reread_seconds),
                "stream_reread_seconds must be 1 to 60",
            ),
        ];
        checks
            .into_iter()
            .find_map(|(wrong, problem)| wrong.then_some(problem))
    }

    /// Which mailer this process uses. The mailbox shows everybody's mail to anybody: production
    /// has none.
    pub(crate) fn mailer_kind(
        &self,
        development: bool,
        section: &ConfigSection,
    ) -> Result<MailerKind, ConfigError> {
        match self.mailer {
            MailerChoice::Smtp => Ok(MailerKind::Smtp),
            MailerChoice::Auto if !self.smtp_host.is_empty() => Ok(MailerKind::Smtp),
            MailerChoice::Auto | MailerChoice::Mailbox if development => Ok(MailerKind::Mailbox),
            MailerChoice::Auto => Err(section.error(
                "smtp_host is not set, and production has no mailbox page; \
                 an installation that sends no mail says mailer = \"none\"",
            )),
            MailerChoice::Mailbox => {
                Err(section.error("mailer = \"mailbox\" is for development only"))
            }
            MailerChoice::None => Ok(MailerKind::None),
        }
    }

    pub(crate) fn sender_name<'a>(&'a self, product: &'a str) -> &'a str {
        if self.from_name.is_empty() {
            product
        } else {
            &self.from_name
        }
    }

    pub(crate) fn smtp_port(&self) -> u16 {
        match (self.smtp_port, self.smtp_tls) {
            (0, SmtpTls::None) => 25,
            (0, SmtpTls::Starttls) => 587,
            (0, SmtpTls::Implicit) => 465,
            (port, _) => port,
        }
    }

    pub(crate) fn smtp_ca_file(&self) -> Option<&Path> {
        some(&self.smtp_ca_file)
    }

    fn smtp_password_file(&self) -> Option<&Path> {
        some(&self.smtp_password_file)
    }

    /// User name and password, or nothing when the server wants no sign-in.
    pub(crate) fn credentials(&self) -> anyhow::Result<Option<(String, Secret)>> {
        if self.smtp_username.is_empty() {
            return Ok(None);
        }
        let password = match self.smtp_password_file() {
            None => self.smtp_password.clone(),
            Some(file) => {
                let text = fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                Secret::new(text.trim_end_matches(['\r', '\n']))
            }
        };
        Ok(Some((self.smtp_username.clone(), password)))
    }

    pub(crate) fn smtp_timeout(&self) -> Duration {
        Duration::from_secs(self.smtp_timeout_seconds)
    }

    /// For one mail as a whole, connecting included.
    pub(crate) fn send_deadline(&self) -> Duration {
        self.smtp_timeout() * 2
    }

    /// Long enough to send and to write down that it was sent.
    pub(crate) fn lease(&self) -> Duration {
        self.send_deadline() + Duration::from_secs(20)
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            base: time::Duration::seconds(self.retry_base_seconds.into()),
            max: time::Duration::seconds(self.retry_max_seconds.into()),
            max_attempts: self.max_attempts,
        }
    }

    pub(crate) fn message_lifetime(&self) -> time::Duration {
        time::Duration::seconds(self.message_lifetime_seconds.into())
    }

    pub(crate) fn address_taken_interval(&self) -> time::Duration {
        time::Duration::seconds(self.address_taken_interval_seconds.into())
    }

    pub(crate) fn delivery_retention(&self) -> time::Duration {
        time::Duration::days(self.delivery_retention_days.into())
    }

    pub(crate) fn suppression(&self) -> time::Duration {
        time::Duration::days(self.bounce_suppression_days.into())
    }

    pub(crate) fn notification_retention(&self) -> time::Duration {
        time::Duration::days(self.notification_retention_days.into())
    }

    pub(crate) fn stream_max(&self) -> Duration {
        Duration::from_secs(self.stream_max_seconds)
    }

    pub(crate) fn stream_reread(&self) -> Duration {
        Duration::from_secs(self.stream_reread_seconds)
    }
}

/// An empty path is none.
fn some(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn section(overrides: &str) -> ConfigSection {
        let mut table: toml::Table = include_str!("../config.toml").parse().expect("TOML");
        table.extend(overrides.parse::<toml::Table>().expect("TOML"));
        ConfigSection::new("notification", table)
    }

    pub(crate) fn config(overrides: &str) -> Result<Config, ConfigError> {
        Config::read(&section(overrides))
    }

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_refused() {
        assert!(config("").is_ok());
        let smtp = "smtp_host = \"mail.example.org\"\nfrom_address = \"a@example.org\"\n";
        for (overrides, valid) in [
            ("", true),
            ("smtp_username = \"u\"\nsmtp_password = \"p\"", true),
            (
                "smtp_username = \"u\"\nsmtp_password_file = \"/run/secrets/smtp\"",
                true,
            ),
            ("smtp_username = \"u\"", false),
            ("smtp_password = \"p\"", false),
            (
                "smtp_username = \"u\"\nsmtp_password = \"p\"\nsmtp_password_file = \"f\"",
                false,
            ),
            (
                "smtp_username = \"u\"\nsmtp_password = \"p\"\nsmtp_tls = \"none\"",
                false,
            ),
            ("from_address = \"\"", false),
            ("from_name = \"a\\nBcc: b\"", false),
            ("send_concurrency = 0", false),
            ("retry_max_seconds = 1", false),
            ("stream_reread_seconds = 3600", false),
            ("bounce_suppression_days = 0", false),
            ("smtp_hots = \"x\"", false),
        ] {
            let all = format!("{smtp}{overrides}");
            let table = all.lines().rev().collect::<Vec<_>>();
            // The last of two equal keys counts.
            let mut seen = std::collections::HashSet::new();
            let table: Vec<_> = table
                .into_iter()
                .filter(|line| seen.insert(line.split(' ').next()))
                .collect();
            assert_eq!(config(&table.join("\n")).is_ok(), valid, "{overrides}");
        }
        assert!(config("mailer = \"smtp\"").is_err());
    }

    #[test]
    fn the_mailbox_is_for_development() {
        let smtp = "smtp_host = \"mail.example.org\"\nfrom_address = \"a@example.org\"\n";
        for (overrides, development, production) in [
            ("", Some(MailerKind::Mailbox), None),
            ("mailer = \"mailbox\"", Some(MailerKind::Mailbox), None),
            (
                "mailer = \"none\"",
                Some(MailerKind::None),
                Some(MailerKind::None),
            ),
            (smtp, Some(MailerKind::Smtp), Some(MailerKind::Smtp)),
        ] {
            let (section, config) = (section(overrides), config(overrides).unwrap());
            assert_eq!(
                config.mailer_kind(true, &section).ok(),
                development,
                "{overrides}"
            );
            assert_eq!(
                config.mailer_kind(false, &section).ok(),
                production,
                "{overrides}"
            );
        }
    }

    #[test]
    fn a_lease_outlasts_what_it_is_for() {
        for seconds in [1, 20, 300] {
            let config = config(&format!("smtp_timeout_seconds = {seconds}")).unwrap();
            assert!(config.lease() > config.send_deadline());
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = config("smtp_username = \"u\"\nsmtp_password = \"hunter2\"").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
