//! Accounts, for administrators.

pub(crate) mod act;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod roles;

use kernel::UserId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::store::administration::Account;

/// An account as administrators see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserView {
    id: UserId,
    #[schema(examples("ada@example.org"))]
    email: String,
    /// As given when registering.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// BCP 47.
    locale: String,
    /// IANA.
    time_zone: String,
    #[schema(examples(json!(["user", "admin"])))]
    roles: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    registered_at: OffsetDateTime,
    /// Since then it is shut out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    suspended_at: Option<OffsetDateTime>,
    /// Without one, codes by mail sign in.
    has_password: bool,
}

impl From<Account> for UserView {
    fn from(account: Account) -> Self {
        Self {
            id: account.user_id,
            email: account.email,
            display_name: account.display_name,
            locale: account.locale,
            time_zone: account.time_zone,
            roles: account.roles,
            registered_at: account.registered_at,
            suspended_at: account.suspended_at,
            has_password: account.has_password,
        }
    }
}
