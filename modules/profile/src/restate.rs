//! The present state of every profile, told again.

use async_trait::async_trait;
use kernel::{UserId, module::Restate};

use crate::{State, edit::shown, events::ProfileRestated, store};

/// Rows whose locks are held until the page's events are committed: few enough that an edit of one
/// of them hardly notices.
const PAGE: i64 = 200;

pub(crate) struct RestateProfiles {
    pub(crate) state: State,
}

#[async_trait]
impl Restate for RestateProfiles {
    async fn restate(&self, cursor: Option<String>) -> anyhow::Result<Option<String>> {
        let after: Option<UserId> = cursor.as_deref().map(str::parse).transpose()?;
        let mut tx = self.state.db.begin().await?;
        let profiles = store::profiles::lock_page(&mut tx, after, PAGE).await?;
        let last = profiles.last().map(|profile| profile.user_id.to_string());
        for profile in profiles {
            tx.publish(&ProfileRestated {
                shown: Some(shown(&self.state, &profile)),
                user_id: profile.user_id,
                display_name: profile.display_name,
                locale: profile.locale,
                time_zone: profile.time_zone,
            });
        }
        tx.commit().await?;
        Ok(last)
    }
}
