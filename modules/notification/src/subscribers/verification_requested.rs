//! A registration waits for its code: it is mailed to the address that is to be proven.

use async_trait::async_trait;
use contracts::identity::VerificationRequested;
use kernel::{HandlerError, Received, Tx, bus::Handle};

use crate::{
    domain::Message,
    outbound::{NewMail, Outbound},
};

pub(super) struct SendVerification {
    pub(super) outbound: Outbound,
}

#[async_trait]
impl Handle<VerificationRequested> for SendVerification {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<VerificationRequested>,
    ) -> Result<(), HandlerError> {
        let VerificationRequested {
            registration_id,
            email,
            locale,
            code,
            expires_at,
            ..
        } = &event.data;
        let mail = NewMail {
            user_id: None,
            address: email,
            locale,
            message: Message::Verification {
                registration_id: *registration_id,
                code: code.clone(),
            },
            // A code that is asked for again is another event.
            idempotency_key: &format!("verification:{registration_id}:{}", event.id),
            expires_at: *expires_at,
        };
        self.outbound.mail(tx, &event, mail).await
    }
}
