//! `profile.blobs`.

use sqlx::PgConnection;

pub(crate) async fn put(
    conn: &mut PgConnection,
    key: &str,
    content: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO profile.blobs (key, content) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET content = excluded.content",
        key,
        content
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn get(
    conn: &mut PgConnection,
    key: &str,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!("SELECT content FROM profile.blobs WHERE key = $1", key)
        .fetch_optional(conn)
        .await
}

pub(crate) async fn delete(conn: &mut PgConnection, key: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM profile.blobs WHERE key = $1", key)
        .execute(conn)
        .await?;
    Ok(())
}
