//! Mails: putting them into words, and handing them over.

mod content;
mod mailbox;
mod off;
mod preview;
mod render;
mod smtp;
#[cfg(test)]
mod suite;

use async_trait::async_trait;
use kernel::{Context, module::ConfigError};
use time::OffsetDateTime;
use url::Url;

pub(crate) use self::{
    content::content,
    preview::{preview, templates},
    render::{Frame, Rendered, Said, in_app, render},
};
use self::{mailbox::MailboxMailer, off::NoMailer, smtp::SmtpMailer};
use crate::{
    config::{Config, MailerKind},
    domain::MailAddress,
};

/// A mail that is ready to go.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// With its angle brackets; the same at every try.
    pub(crate) message_id: String,
    pub(crate) to: MailAddress,
    pub(crate) content: Rendered,
    /// Where mails like it can be stopped, by a person or by their mail program.
    pub(crate) unsubscribe: Option<Url>,
    pub(crate) date: OffsetDateTime,
}

/// Why a mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct SendError {
    /// No further try can change it.
    pub(crate) is_permanent: bool,
    /// It is the address that takes no mail, whatever the mail says.
    pub(crate) is_bounce: bool,
    /// The server's reply code, when it replied.
    pub(crate) code: Option<String>,
    /// Kept with the delivery. A server likes to repeat the address, so it is not for logs.
    text: String,
}

impl SendError {
    pub(crate) fn permanent(text: impl Into<String>) -> Self {
        Self {
            is_permanent: true,
            is_bounce: false,
            code: None,
            text: text.into(),
        }
    }

    pub(crate) fn temporary(text: impl Into<String>) -> Self {
        Self {
            is_permanent: false,
            is_bounce: false,
            code: None,
            text: text.into(),
        }
    }

    /// What may stand in a log record: our own words, or the bare code of a server.
    pub(crate) fn for_logs(&self) -> &str {
        self.code.as_deref().unwrap_or(&self.text)
    }
}

/// Hands mails over. One suite of tests holds for every implementation.
#[async_trait]
pub(crate) trait Mailer: Send + Sync {
    /// Returns when the mail is in the hands of someone who keeps it; with their words, if any.
    async fn send(&self, mail: &Mail) -> Result<Option<String>, SendError>;
}

/// The mailer that the configuration asks for.
pub(crate) fn mailer(config: &Config, context: &Context) -> Result<Box<dyn Mailer>, ConfigError> {
    Ok(
        match config.mailer_kind(context.development, &context.config)? {
            MailerKind::Smtp => Box::new(SmtpMailer::new(config, &context.product_name).map_err(
                |error| {
                    context
                        .config
                        .error(format!("SMTP cannot be used: {error:#}"))
                },
            )?),
            MailerKind::Mailbox => Box::new(MailboxMailer {
                pool: context.db.pool().clone(),
                world: context.world.clone(),
            }),
            MailerKind::None => Box::new(NoMailer),
        },
    )
}
