//! The development mailbox: mails are kept in a table, for `/dev/mailbox` to show.

use async_trait::async_trait;
use kernel::World;
use sqlx::PgPool;

use super::{Mail, Mailer, SendError};
use crate::store;

pub(crate) struct MailboxMailer {
    pub(crate) pool: PgPool,
    pub(crate) world: World,
}

#[async_trait]
impl Mailer for MailboxMailer {
    async fn send(&self, mail: &Mail) -> Result<Option<String>, SendError> {
        let unreachable = |error: sqlx::Error| {
            SendError::temporary(format!("the mailbox cannot be written: {error}"))
        };
        let mut conn = self.pool.acquire().await.map_err(unreachable)?;
        store::mailbox::insert(&mut conn, self.world.uuid(), mail)
            .await
            .map_err(unreachable)?;
        Ok(None)
    }
}
