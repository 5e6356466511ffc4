//! An account came to be, or its state was told again: where its mail goes.

use async_trait::async_trait;
use contracts::identity::{UserRegistered, UserRestated};
use kernel::{HandlerError, Received, Tx, UserId, bus::Handle};
use time::OffsetDateTime;

use crate::{
    domain::{MailAddress, language_tag},
    store,
};

pub(super) struct LearnAccount;

#[async_trait]
impl Handle<UserRegistered> for LearnAccount {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<UserRegistered>,
    ) -> Result<(), HandlerError> {
        let UserRegistered {
            user_id,
            email,
            locale,
            ..
        } = event.data;
        learn(tx, user_id, &email, &locale, event.time).await
    }
}

#[async_trait]
impl Handle<UserRestated> for LearnAccount {
    async fn handle(&self, tx: &mut Tx, event: Received<UserRestated>) -> Result<(), HandlerError> {
        let UserRestated {
            user_id,
            email,
            locale,
            registered_at,
            ..
        } = event.data;
        learn(tx, user_id, &email, &locale, registered_at).await
    }
}

async fn learn(
    tx: &mut Tx,
    user_id: UserId,
    email: &str,
    locale: &str,
    registered_at: OffsetDateTime,
) -> Result<(), HandlerError> {
    if email.chars().count() > MailAddress::MAX_CHARS {
        return Err(HandlerError::Park(
            "the address is longer than any can be".to_owned(),
        ));
    }
    let locale = language_tag(locale);
    store::recipients::put_account(tx, user_id, email, locale, registered_at).await?;
    Ok(())
}
