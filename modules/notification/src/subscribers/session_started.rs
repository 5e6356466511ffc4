//! Someone signed in from where the account has not been used lately: its owner is told.

use async_trait::async_trait;
use contracts::identity::{SessionStarted, SignInMethod};
use kernel::{HandlerError, Received, Tx, bus::Handle};

use crate::{
    domain::{Message, Notice},
    outbound::{NewMail, Outbound},
    store,
    subscribers::occurrence,
};

pub(super) struct TellOfSignIn {
    pub(super) outbound: Outbound,
}

#[async_trait]
impl Handle<SessionStarted> for TellOfSignIn {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<SessionStarted>,
    ) -> Result<(), HandlerError> {
        let SessionStarted {
            user_id,
            session_id,
            unfamiliar,
            method,
            ..
        } = event.data;
        if method == SignInMethod::Code
            && let Some(recipient) = store::recipients::find(tx, user_id).await?
        {
            // The code was read.
            store::suppressions::lift_address(tx, &recipient.email).await?;
        }
        if !unfamiliar {
            return Ok(());
        }
        let Some(recipient) = self.outbound.recipient(tx, &event, user_id).await? else {
            return Ok(());
        };
        let seen = occurrence(&event, &recipient, event.data.device.as_deref());
        let idempotency_key = format!("unfamiliar_sign_in:{user_id}:{session_id}");
        let mail = NewMail {
            user_id: Some(user_id),
            address: &recipient.email,
            locale: &recipient.locale,
            message: Message::UnfamiliarSignIn { seen: seen.clone() },
            idempotency_key: &idempotency_key,
            expires_at: event.time + self.outbound.lifetime,
        };
        self.outbound.mail(tx, &event, mail).await?;
        let notice = Notice::UnfamiliarSignIn { seen };
        self.outbound
            .notify(tx, &event, user_id, &notice, &idempotency_key)
            .await
    }
}
