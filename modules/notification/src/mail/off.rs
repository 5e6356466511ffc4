//! No mailer: an installation that has decided to send no mail.

use async_trait::async_trait;

use super::{Mail, Mailer, SendError};

/// Refuses every mail, so that each shows as failed rather than being lost without a word.
pub(crate) struct NoMailer;

#[async_trait]
impl Mailer for NoMailer {
    async fn send(&self, _: &Mail) -> Result<Option<String>, SendError> {
        Err(SendError::permanent(
            "mail is switched off by the configuration",
        ))
    }
}
