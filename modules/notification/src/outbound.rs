//! Telling a person something: a row per message, written with the effects of what caused it.

use std::sync::Arc;

use contracts::notification::MessageSent;
use kernel::{Db, EventId, HandlerError, Hint, Received, RequestContext, Tx, UserId, World};
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    domain::{Channel, MailAddress, Message, Notice, language_tag},
    live::INBOX_TOPIC,
    store::{
        self, deliveries, notifications,
        recipients::{self, Recipient},
    },
};

/// Where subscribers and handlers leave mails for the worker, and notifications for the app.
#[derive(Clone)]
pub(crate) struct Outbound {
    pub(crate) db: Db,
    /// Wakes this process's worker; others look by themselves.
    pub(crate) wake: Arc<Notify>,
    /// The right side of every Message-ID.
    pub(crate) domain: String,
    /// What has no end of its own tells nothing that is still of interest after this long.
    pub(crate) lifetime: Duration,
}

/// A mail to be queued.
pub(crate) struct NewMail<'a> {
    /// None when the address has no account yet.
    pub(crate) user_id: Option<UserId>,
    pub(crate) address: &'a str,
    pub(crate) locale: &'a str,
    pub(crate) message: Message,
    /// Recipient, template and cause.
    pub(crate) idempotency_key: &'a str,
    pub(crate) expires_at: OffsetDateTime,
}

/// On whose account, and in which trace, something is told.
pub(crate) struct Cause {
    pub(crate) event_id: EventId,
    pub(crate) context: RequestContext,
    /// The request of a service that it is part of.
    pub(crate) send_id: Option<Uuid>,
}

impl Cause {
    /// Of the event rather than of this moment: the worker, later and elsewhere, goes on in it.
    fn event<E>(world: &World, event: &Received<E>) -> Self {
        Self {
            event_id: event.id,
            context: RequestContext::caused_by(world, event.id, &event.context),
            send_id: None,
        }
    }
}

impl Outbound {
    pub(crate) fn world(&self) -> &World {
        self.db.world()
    }

    /// Whom an event of identity is about. Nothing when it is too old to tell of. Subscriptions keep
    /// no order between them: the account may be learnt after what happened to it.
    pub(crate) async fn recipient<E>(
        &self,
        tx: &mut Tx,
        event: &Received<E>,
        user_id: UserId,
    ) -> Result<Option<Recipient>, HandlerError> {
        if event.time + self.lifetime <= self.world().now() {
            return Ok(None);
        }
        match recipients::find(tx, user_id).await? {
            Some(recipient) => Ok(Some(recipient)),
            None => Err(HandlerError::Defer("recipient")),
        }
    }

    /// Queues a mail on account of `event`, unless it has been.
    pub(crate) async fn mail<E>(
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
        let category = mail.message.category();
        let wanted = match mail.user_id {
            Some(user_id) if !category.is_required(Channel::Email) => {
                let found = store::preferences::find(tx, user_id).await?;
                found.preferences.allow(category, Channel::Email)
            }
            _ => true,
        };
        let cause = Cause::event(self.world(), event);
        self.queue(tx, &cause, mail, wanted).await?;
        Ok(())
    }

    /// Shows a notification in the app on account of `event`, unless it has been or is not wanted.
    pub(crate) async fn notify<E>(
        &self,
        tx: &mut Tx,
        event: &Received<E>,
        user_id: UserId,
        notice: &Notice,
        idempotency_key: &str,
    ) -> Result<(), HandlerError> {
        let found = store::preferences::find(tx, user_id).await?;
        if found.preferences.allow(notice.category(), Channel::InApp) {
            let cause = Cause::event(self.world(), event);
            self.show(tx, &cause, user_id, notice, idempotency_key)
                .await?;
        }
        Ok(())
    }

    /// Writes a mail's row: to be sent, or only to tell why it is not. Its id and status, unless there
    /// was one.
    pub(crate) async fn queue(
        &self,
        tx: &mut Tx,
        cause: &Cause,
        mail: NewMail<'_>,
        wanted: bool,
    ) -> Result<Option<(Uuid, String)>, sqlx::Error> {
        let world = self.world();
        let (template, data) = mail.message.to_columns();
        let id = world.uuid();
        let status = store::deliveries::insert(
            tx,
            &deliveries::New {
                id,
                user_id: mail.user_id,
                address: mail.address,
                template: &template,
                locale: language_tag(mail.locale),
                data: &data,
                urgent: mail.message.is_urgent(),
                muted: !wanted,
                suppressible: mail.message.is_suppressible(),
                idempotency_key: mail.idempotency_key,
                message_id: &format!("<{id}@{}>", self.domain),
                expires_at: mail.expires_at,
                traceparent: &cause.context.traceparent(),
                correlation_id: &cause.context.correlation_id,
                event_id: cause.event_id,
                send_id: cause.send_id,
                created_at: world.now(),
            },
        )
        .await?;
        if status.as_deref() == Some("queued") {
            let wake = Arc::clone(&self.wake);
            tx.after_commit(move || wake.notify_one());
        }
        Ok(status.map(|status| (id, status)))
    }

    /// Writes a notification's row and wakes its reader. The id, if there was none.
    pub(crate) async fn show(
        &self,
        tx: &mut Tx,
        cause: &Cause,
        user_id: UserId,
        notice: &Notice,
        idempotency_key: &str,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        let world = self.world();
        let id = world.uuid();
        let (kind, data) = notice.to_columns();
        let inserted = notifications::insert(
            tx,
            &notifications::New {
                id,
                user_id,
                kind: &kind,
                data: &data,
                idempotency_key,
                event_id: cause.event_id,
                send_id: cause.send_id,
                created_at: world.now(),
            },
        )
        .await?;
        if !inserted {
            return Ok(None);
        }
        tx.publish(&MessageSent {
            message_id: id,
            user_id: Some(user_id),
            channel: Channel::InApp.as_str().to_owned(),
            template: kind,
            attempts: 1,
        });
        let bus = self.db.bus().clone();
        let hint = Hint {
            topic: INBOX_TOPIC.to_owned(),
            key: user_id.to_string(),
        };
        tx.after_commit(move || bus.hint(hint));
        Ok(Some(id))
    }
}
