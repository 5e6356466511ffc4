//! Publishes the next signing key ahead of its use, retires those that are no longer needed.

use async_trait::async_trait;
use kernel::{Db, jobs::JobRun, secret::Key};

use crate::{config::Config, signing};

pub(super) struct RotateSigningKeys {
    pub(super) db: Db,
    pub(super) key: Key,
    pub(super) config: Config,
}

#[async_trait]
impl JobRun for RotateSigningKeys {
    async fn run(&self) -> anyhow::Result<()> {
        signing::rotate(&self.db, &self.key, &self.config).await
    }
}
