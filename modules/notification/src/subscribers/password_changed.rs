//! A password became another: its owner is told, in case it was somebody else's doing.

use async_trait::async_trait;
use contracts::identity::{PasswordChange, PasswordChanged};
use kernel::{HandlerError, Received, Tx, bus::Handle};

use crate::{
    domain::{Message, Notice},
    outbound::{NewMail, Outbound},
    store,
    subscribers::occurrence,
};

pub(super) struct TellOfPassword {
    pub(super) outbound: Outbound,
}

#[async_trait]
impl Handle<PasswordChanged> for TellOfPassword {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<PasswordChanged>,
    ) -> Result<(), HandlerError> {
        let PasswordChanged { user_id, change } = event.data;
        let Some(recipient) = self.outbound.recipient(tx, &event, user_id).await? else {
            return Ok(());
        };
        let was_reset = change == PasswordChange::Reset;
        if was_reset {
            // The code was read.
            store::suppressions::lift_address(tx, &recipient.email).await?;
        }
        let seen = occurrence(&event, &recipient, None);
        let idempotency_key = format!("password_changed:{user_id}:{}", event.id);
        let mail = NewMail {
            user_id: Some(user_id),
            address: &recipient.email,
            locale: &recipient.locale,
            message: Message::PasswordChanged {
                was_reset,
                seen: seen.clone(),
            },
            idempotency_key: &idempotency_key,
            expires_at: event.time + self.outbound.lifetime,
        };
        self.outbound.mail(tx, &event, mail).await?;
        let notice = Notice::PasswordChanged { was_reset, seen };
        self.outbound
            .notify(tx, &event, user_id, &notice, &idempotency_key)
            .await
    }
}
