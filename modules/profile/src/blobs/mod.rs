//! Where the bytes of pictures are kept: by key, whole, and with no opinion on whose they are. The rows of
//! `profile.avatars` say which keys there are, so nothing here has to be listed.

mod disk;
mod postgres;
mod s3;
#[cfg(test)]
mod suite;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use axum::body::Bytes;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{config::Config, domain::AvatarSize};

use self::{disk::Disk, postgres::Postgres, s3::S3};

/// The largest blob that a store must take, in bytes.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// The name of a blob: lower case letters, digits and a dash, fit for a file and for a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn of_avatar(avatar_id: Uuid, size: AvatarSize) -> Self {
        Self(format!("{}-{}", avatar_id.simple(), size.pixels()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A store of blobs. `suite.rs` holds all of them to the same.
#[async_trait]
pub(crate) trait BlobStore: Send + Sync {
    /// On disk when it returns. Replaces what is there under the key: readers get the one or the other,
    /// never a part. One key is not written twice at once: each upload makes its own.
    async fn put(&self, key: &Key, content: Bytes) -> anyhow::Result<()>;

    async fn get(&self, key: &Key) -> anyhow::Result<Option<Bytes>>;

    /// What is not there is deleted already.
    async fn delete(&self, key: &Key) -> anyhow::Result<()>;
}

pub(crate) fn open(
    config: &Config,
    pool: &PgPool,
    data_dir: &std::path::Path,
) -> anyhow::Result<Arc<dyn BlobStore>> {
    use crate::config::Blobs;
    Ok(match config.blobs {
        Blobs::Postgres => Arc::new(Postgres::new(pool.clone())),
        Blobs::Disk => Arc::new(Disk::open(config.disk_path(data_dir))?),
        Blobs::S3 => Arc::new(S3::new(config)?),
    })
}
