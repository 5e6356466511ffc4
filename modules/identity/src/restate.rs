//! The present state of every account, told again.

use async_trait::async_trait;
use kernel::{Db, UserId, module::Restate};

use crate::{events::UserRestated, store};

/// Rows whose locks are held until the page's events are committed: few enough that a change of one
/// of them hardly notices.
const PAGE: i64 = 200;

pub(crate) struct RestateUsers {
    pub(crate) db: Db,
}

#[async_trait]
impl Restate for RestateUsers {
    async fn restate(&self, cursor: Option<String>) -> anyhow::Result<Option<String>> {
        let after: Option<UserId> = cursor.as_deref().map(str::parse).transpose()?;
        let mut tx = self.db.begin().await?;
        let users = store::users::lock_page(&mut tx, after, PAGE).await?;
        let last = users.last().map(|user| user.user_id.to_string());
        for user in users {
            tx.publish(&UserRestated {
                user_id: user.user_id,
                email: user.email,
                display_name: user.display_name,
                locale: user.locale,
                time_zone: user.time_zone,
                roles: user.roles,
                registered_at: user.registered_at,
            });
        }
        tx.commit().await?;
        Ok(last)
    }
}
