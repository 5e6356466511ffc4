//! `identity.services`.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::{ClientId, Scopes, ServiceSecret};

/// A service that is to be.
pub(crate) struct NewService<'a> {
    pub(crate) client_id: &'a ClientId,
    pub(crate) display_name: &'a str,
    pub(crate) scopes: &'a Scopes,
    pub(crate) secret: &'a ServiceSecret,
}

/// False when the id is taken: then nothing is written. Waits for others who take it just now.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    service: &NewService<'_>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO identity.services
             (client_id, display_name, scopes, secret_digest, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (client_id) DO NOTHING",
        service.client_id.as_str(),
        service.display_name,
        service.scopes.as_slice(),
        &service.secret.digest(),
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What signing in needs.
pub(crate) struct Credentials {
    pub(crate) secret_digest: Vec<u8>,
    /// While it is good.
    pub(crate) previous_digest: Option<Vec<u8>>,
    pub(crate) scopes: Vec<String>,
    pub(crate) tokens_from: Option<OffsetDateTime>,
}

/// Nothing when there is no such service, or it is disabled.
pub(crate) async fn credentials(
    conn: &mut PgConnection,
    client_id: &ClientId,
    now: OffsetDateTime,
) -> Result<Option<Credentials>, sqlx::Error> {
    sqlx::query_as!(
        Credentials,
        r#"SELECT secret_digest, scopes, tokens_from,
                  CASE WHEN previous_until > $2 THEN previous_digest END AS previous_digest
             FROM identity.services
            WHERE client_id = $1 AND disabled_at IS NULL"#,
        client_id.as_str(),
        now
    )
    .fetch_optional(conn)
    .await
}

/// A service as its operator sees it.
pub(crate) struct Service {
    pub(crate) client_id: String,
    pub(crate) display_name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) secret_digest: Vec<u8>,
    pub(crate) previous_until: Option<OffsetDateTime>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) disabled_at: Option<OffsetDateTime>,
}

/// One service, its row locked: whoever changes it decides by what they see.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    client_id: &ClientId,
) -> Result<Option<Service>, sqlx::Error> {
    sqlx::query_as!(
        Service,
        "SELECT client_id, display_name, scopes, secret_digest, previous_until, created_at,
                disabled_at
           FROM identity.services
          WHERE client_id = $1
            FOR UPDATE",
        client_id.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// At most `limit` services in the order of their ids, after one of them.
pub(crate) async fn page(
    conn: &mut PgConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<Service>, sqlx::Error> {
    sqlx::query_as!(
        Service,
        "SELECT client_id, display_name, scopes, secret_digest, previous_until, created_at,
                disabled_at
           FROM identity.services
          WHERE client_id > $1
          ORDER BY client_id
          LIMIT $2",
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Puts a new secret in force. The one in force so far becomes the previous one, good until then;
/// what was the previous one is forgotten. Tokens are issued from `tokens_from` on, if given.
pub(crate) async fn rotate(
    conn: &mut PgConnection,
    client_id: &ClientId,
    secret: &ServiceSecret,
    previous_until: OffsetDateTime,
    tokens_from: Option<OffsetDateTime>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE identity.services
            SET previous_digest = secret_digest,
                previous_until = $3,
                secret_digest = $2,
                tokens_from = greatest(tokens_from, $4)
          WHERE client_id = $1",
        client_id.as_str(),
        &secret.digest(),
        previous_until,
        tokens_from
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn disable(
    conn: &mut PgConnection,
    client_id: &ClientId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE identity.services SET disabled_at = $2 WHERE client_id = $1",
        client_id.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
