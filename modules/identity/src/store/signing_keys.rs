//! `identity.signing_keys`.

use jsonwebtoken::jwk::Jwk;
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;

/// A key as it is stored: the private part encrypted.
#[derive(Debug)]
pub(crate) struct StoredKey {
    pub(crate) kid: String,
    pub(crate) jwk: Json<Jwk>,
    pub(crate) private_key: Vec<u8>,
    pub(crate) published_at: OffsetDateTime,
    pub(crate) active_from: OffsetDateTime,
}

/// All keys, oldest first.
pub(crate) async fn all(conn: &mut PgConnection) -> Result<Vec<StoredKey>, sqlx::Error> {
    sqlx::query_as!(
        StoredKey,
        r#"SELECT kid, jwk AS "jwk: Json<Jwk>", private_key, published_at, active_from
             FROM identity.signing_keys
            ORDER BY active_from, kid"#
    )
    .fetch_all(conn)
    .await
}

/// From here to the end of the transaction nobody else adds or retires keys: two instances that
/// start or rotate at once make one key, not two. Reading goes on.
pub(crate) async fn lock(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("LOCK TABLE identity.signing_keys IN SHARE ROW EXCLUSIVE MODE")
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn insert(conn: &mut PgConnection, key: &StoredKey) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO identity.signing_keys (kid, jwk, private_key, published_at, active_from)
         VALUES ($1, $2, $3, $4, $5)",
        key.kid,
        &key.jwk as _,
        key.private_key,
        key.published_at,
        key.active_from
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn delete(conn: &mut PgConnection, kids: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM identity.signing_keys WHERE kid = ANY ($1)",
        kids
    )
    .execute(conn)
    .await?;
    Ok(())
}
