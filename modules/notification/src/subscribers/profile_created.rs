//! An account got its profile: its owner is welcomed, by mail and in the app, once.

use async_trait::async_trait;
use contracts::profile::ProfileCreated;
use kernel::{HandlerError, Received, Tx, bus::Handle};

use crate::{
    domain::{Message, Notice},
    outbound::{NewMail, Outbound},
    store,
};

pub(super) struct Welcome {
    pub(super) outbound: Outbound,
}

#[async_trait]
impl Handle<ProfileCreated> for Welcome {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<ProfileCreated>,
    ) -> Result<(), HandlerError> {
        let ProfileCreated {
            user_id,
            display_name,
            locale,
            ..
        } = &event.data;
        // Publishers keep no order between them: identity's word may come after profile's.
        let Some(recipient) = store::recipients::find(tx, *user_id).await? else {
            return Err(HandlerError::Defer("recipient"));
        };
        // A profile can be new to an account that is not, when everything is told again.
        let expires_at = recipient.registered_at + self.outbound.lifetime;
        if expires_at <= self.outbound.world().now() {
            return Ok(());
        }
        let idempotency_key = format!("welcome:{user_id}");
        let mail = NewMail {
            user_id: Some(*user_id),
            address: &recipient.email,
            locale,
            message: Message::Welcome {
                display_name: display_name.clone(),
            },
            idempotency_key: &idempotency_key,
            expires_at,
        };
        self.outbound.mail(tx, &event, mail).await?;
        self.outbound
            .notify(tx, &event, *user_id, &Notice::Welcome {}, &idempotency_key)
            .await
    }
}
