//! A profile came to be, changed, or was told again: how to address a person, in which language.

use async_trait::async_trait;
use contracts::profile::{ProfileCreated, ProfileRestated, ProfileUpdated};
use kernel::{HandlerError, Received, Tx, UserId, bus::Handle};

use crate::{domain::language_tag, store};

pub(super) struct LearnProfile;

#[async_trait]
impl Handle<ProfileCreated> for LearnProfile {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<ProfileCreated>,
    ) -> Result<(), HandlerError> {
        let ProfileCreated {
            user_id,
            display_name,
            locale,
            time_zone,
        } = event.data;
        learn(tx, user_id, display_name, &locale, &time_zone).await
    }
}

#[async_trait]
impl Handle<ProfileUpdated> for LearnProfile {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<ProfileUpdated>,
    ) -> Result<(), HandlerError> {
        let ProfileUpdated {
            user_id,
            display_name,
            locale,
            time_zone,
            ..
        } = event.data;
        learn(tx, user_id, display_name, &locale, &time_zone).await
    }
}

#[async_trait]
impl Handle<ProfileRestated> for LearnProfile {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<ProfileRestated>,
    ) -> Result<(), HandlerError> {
        let ProfileRestated {
            user_id,
            display_name,
            locale,
            time_zone,
            ..
        } = event.data;
        learn(tx, user_id, display_name, &locale, &time_zone).await
    }
}

async fn learn(
    tx: &mut Tx,
    user_id: UserId,
    display_name: Option<String>,
    locale: &str,
    time_zone: &str,
) -> Result<(), HandlerError> {
    // What does not fit is cut rather than refused: it is for show, and the rest still counts.
    let display_name = display_name.map(|name| name.chars().take(200).collect::<String>());
    let time_zone = if time_zone.chars().count() <= 64 {
        time_zone
    } else {
        "UTC"
    };
    let locale = language_tag(locale);
    store::recipients::put_profile(tx, user_id, display_name.as_deref(), locale, time_zone).await?;
    Ok(())
}
