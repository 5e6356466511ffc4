//! `notification.recipient_accounts` and `notification.recipient_profiles`.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;

pub(crate) async fn put_account(
    conn: &mut PgConnection,
    user_id: UserId,
    email: &str,
    locale: &str,
    registered_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO notification.recipient_accounts (user_id, email, locale, registered_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE
            SET email = excluded.email,
                locale = excluded.locale,
                registered_at = excluded.registered_at",
        user_id.0,
        email,
        locale,
        registered_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn put_profile(
    conn: &mut PgConnection,
    user_id: UserId,
    display_name: Option<&str>,
    locale: &str,
    time_zone: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO notification.recipient_profiles (user_id, display_name, locale, time_zone)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE
            SET display_name = excluded.display_name,
                locale = excluded.locale,
                time_zone = excluded.time_zone",
        user_id.0,
        display_name,
        locale,
        time_zone
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Where and how to write to a person.
pub(crate) struct Recipient {
    pub(crate) email: String,
    /// Their own choice, or else what they registered in.
    pub(crate) locale: String,
    pub(crate) time_zone: Option<String>,
    pub(crate) registered_at: OffsetDateTime,
}

/// Nothing until identity's half has arrived.
pub(crate) async fn find(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<Option<Recipient>, sqlx::Error> {
    sqlx::query_as!(
        Recipient,
        r#"SELECT a.email, coalesce(p.locale, a.locale) AS "locale!", p.time_zone AS "time_zone?",
                  a.registered_at
             FROM notification.recipient_accounts AS a
             LEFT JOIN notification.recipient_profiles AS p USING (user_id)
            WHERE a.user_id = $1"#,
        user_id.0
    )
    .fetch_optional(conn)
    .await
}
