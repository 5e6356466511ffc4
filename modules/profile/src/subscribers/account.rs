//! An account came to be, or its state was told again: it gets a profile unless it has one.

use async_trait::async_trait;
use contracts::identity::{UserRegistered, UserRestated};
use kernel::{HandlerError, Received, Tx, UserId, World, bus::Handle};

use crate::{
    domain::{DisplayName, Locale, TimeZone},
    events::ProfileCreated,
    store,
};

#[derive(Clone)]
pub(crate) struct CreateProfile {
    pub(crate) world: World,
}

/// What both events tell.
struct Account {
    user_id: UserId,
    display_name: Option<String>,
    locale: String,
    time_zone: String,
}

#[async_trait]
impl Handle<UserRegistered> for CreateProfile {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<UserRegistered>,
    ) -> Result<(), HandlerError> {
        let UserRegistered {
            user_id,
            display_name,
            locale,
            time_zone,
            ..
        } = event.data;
        self.create(
            tx,
            Account {
                user_id,
                display_name,
                locale,
                time_zone,
            },
        )
        .await
    }
}

#[async_trait]
impl Handle<UserRestated> for CreateProfile {
    async fn handle(&self, tx: &mut Tx, event: Received<UserRestated>) -> Result<(), HandlerError> {
        let UserRestated {
            user_id,
            display_name,
            locale,
            time_zone,
            ..
        } = event.data;
        self.create(
            tx,
            Account {
                user_id,
                display_name,
                locale,
                time_zone,
            },
        )
        .await
    }
}

impl CreateProfile {
    async fn create(&self, tx: &mut Tx, account: Account) -> Result<(), HandlerError> {
        // identity has its own idea of what is valid. Where ours is narrower, a profile with a
        // default is worth more than none.
        let display_name = account
            .display_name
            .as_deref()
            .and_then(|name| DisplayName::parse(name).ok());
        let locale = Locale::parse(&account.locale).unwrap_or_default();
        let time_zone = TimeZone::parse(&account.time_zone).unwrap_or_default();
        let inserted = store::profiles::insert_if_absent(
            tx,
            account.user_id,
            display_name.as_ref().map(DisplayName::as_str),
            locale.as_str(),
            time_zone.as_str(),
            self.world.now(),
        )
        .await?;
        if inserted {
            tx.publish(&ProfileCreated {
                user_id: account.user_id,
                display_name: display_name.map(DisplayName::into_string),
                locale: locale.into_string(),
                time_zone: time_zone.into_string(),
            });
        }
        Ok(())
    }
}
