//! Someone wants to sign in, or to set a new password, by a code: it is mailed to the account's
//! address.

use async_trait::async_trait;
use contracts::identity::{CodePurpose, CodeRequested};
use kernel::{HandlerError, Received, Tx, bus::Handle};

use crate::{
    domain::Message,
    outbound::{NewMail, Outbound},
};

pub(super) struct SendCode {
    pub(super) outbound: Outbound,
}

#[async_trait]
impl Handle<CodeRequested> for SendCode {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<CodeRequested>,
    ) -> Result<(), HandlerError> {
        let CodeRequested {
            code_id,
            purpose,
            recipient,
            expires_at,
        } = &event.data;
        // No account has the address: whoever asked is told the same, and there is nobody to write
        // to.
        let Some(recipient) = recipient else {
            return Ok(());
        };
        let (code_id, code) = (*code_id, recipient.code.clone());
        let message = match purpose {
            CodePurpose::SignIn => Message::SignInCode { code_id, code },
            CodePurpose::PasswordReset => Message::PasswordResetCode { code_id, code },
            // What a later release of identity uses codes for, this one has no words for.
            CodePurpose::Other => return Ok(()),
        };
        let mail = NewMail {
            user_id: Some(recipient.user_id),
            address: &recipient.email,
            locale: &recipient.locale,
            message,
            idempotency_key: &format!("code:{code_id}:{}", event.id),
            expires_at: *expires_at,
        };
        self.outbound.mail(tx, &event, mail).await
    }
}
