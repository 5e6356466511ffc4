//! Queueing mails: a row per message, written with the effects of the event that caused it.

use std::sync::Arc;

use kernel::{HandlerError, Received, RequestContext, Tx, UserId, World};
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::{
    domain::{MailAddress, Message, language_tag},
    store::{self, deliveries},
};

/// Where subscribers leave mails for the worker.
#[derive(Clone)]
pub(crate) struct Outbound {
    pub(crate) world: World,
    /// Wakes this process's worker; others look by themselves.
    pub(crate) wake: Arc<Notify>,
    /// The right side of every Message-ID.
    pub(crate) domain: String,
}

/// A mail to be queued.
pub(crate) struct NewMail<'a> {
    /// None when the address has no account yet.
    pub(crate) user_id: Option<UserId>,
    pub(crate) address: &'a str,
    pub(crate) locale: &'a str,
    pub(crate) message: Message,
    /// Recipient, template and cause.
    pub(crate) idempotency_key: String,
    pub(crate) expires_at: OffsetDateTime,
}

impl Outbound {
    /// Queues a mail on account of `event`, unless it has been.
    pub(crate) async fn queue<E>(
        &self,
        tx: &mut Tx,
        event: &Received<E>,
        mail: NewMail<'_>,
    ) -> Result<(), HandlerError> {
        if mail.address.chars().count() > MailAddress::MAX_CHARS {
            return Err(HandlerError::Park(
                "the address is longer than any can be".to_owned(),
            ));
        }
        // Of the event rather than of this moment: the worker, later and elsewhere, goes on in it.
        let context = RequestContext::caused_by(&self.world, event.id, &event.context);
        let urgent = mail.message.is_urgent();
        let (template, data) = mail.message.into_columns();
        let id = self.world.uuid();
        let inserted = store::deliveries::insert(
            tx,
            &deliveries::New {
                id,
                user_id: mail.user_id,
                address: mail.address,
                template: &template,
                locale: language_tag(mail.locale),
                data: &data,
                urgent,
                idempotency_key: &mail.idempotency_key,
                message_id: &format!("<{id}@{}>", self.domain),
                expires_at: mail.expires_at,
                traceparent: &context.traceparent(),
                correlation_id: &context.correlation_id,
                event_id: event.id,
                created_at: self.world.now(),
            },
        )
        .await?;
        if inserted {
            let wake = Arc::clone(&self.wake);
            tx.after_commit(move || wake.notify_one());
        }
        Ok(())
    }
}
