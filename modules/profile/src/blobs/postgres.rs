//! Blobs as rows: nothing to set up, and in every backup of the database.

use async_trait::async_trait;
use axum::body::Bytes;
use sqlx::PgPool;

use super::{BlobStore, Key};
use crate::store;

pub(super) struct Postgres {
    pool: PgPool,
}

impl Postgres {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl BlobStore for Postgres {
    async fn put(&self, key: &Key, content: Bytes) -> anyhow::Result<()> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::blobs::put(&mut conn, &key.0, &content).await?)
    }

    async fn get(&self, key: &Key) -> anyhow::Result<Option<Bytes>> {
        let mut conn = self.pool.acquire().await?;
        let content = store::blobs::get(&mut conn, &key.0).await?;
        Ok(content.map(Bytes::from))
    }

    async fn delete(&self, key: &Key) -> anyhow::Result<()> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::blobs::delete(&mut conn, &key.0).await?)
    }
}
