//! An account got its profile: its owner is welcomed, by mail and in the app, once.

use async_trait::async_trait;
use contracts::{notification::MessageSent, profile::ProfileCreated};
use kernel::{Db, HandlerError, Hint, Received, Tx, bus::Handle};
use serde_json::json;
use time::Duration;

use crate::{
    domain::{Kind, Message},
    live::INBOX_TOPIC,
    outbound::{NewMail, Outbound},
    store::{self, notifications},
};

pub(super) struct Welcome {
    pub(super) db: Db,
    pub(super) outbound: Outbound,
    pub(super) lifetime: Duration,
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
        let Some(account) = store::recipients::account(tx, *user_id).await? else {
            return Err(HandlerError::Defer("recipient"));
        };
        let world = &self.outbound.world;
        let now = world.now();
        // A profile can be new to an account that is not, when everything is told again.
        let expires_at = account.registered_at + self.lifetime;
        if expires_at <= now {
            return Ok(());
        }
        let idempotency_key = format!("welcome:{user_id}");
        let mail = NewMail {
            user_id: Some(*user_id),
            address: &account.email,
            locale,
            message: Message::Welcome {
                display_name: display_name.clone(),
            },
            idempotency_key: idempotency_key.clone(),
            expires_at,
        };
        self.outbound.queue(tx, &event, mail).await?;

        let id = world.uuid();
        let inserted = notifications::insert(
            tx,
            &notifications::New {
                id,
                user_id: *user_id,
                kind: Kind::Welcome,
                data: &json!({}),
                idempotency_key: &idempotency_key,
                event_id: event.id,
                created_at: now,
            },
        )
        .await?;
        if inserted {
            tx.publish(&MessageSent {
                message_id: id,
                user_id: Some(*user_id),
                channel: "in_app".to_owned(),
                template: Kind::Welcome.as_str().to_owned(),
                attempts: 1,
            });
            let bus = self.db.bus().clone();
            let hint = Hint {
                topic: INBOX_TOPIC.to_owned(),
                key: user_id.to_string(),
            };
            tx.after_commit(move || bus.hint(hint));
        }
        Ok(())
    }
}
