//! Published by identity: accounts, sessions, services and signing keys.

use kernel::{EventType, Sealed, SessionId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event;

pub const PUBLISHER: &str = "identity";

/// Someone asked for an account; the address is not proven yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerificationRequested {
    pub registration_id: Uuid,
    pub email: String,
    pub display_name: Option<String>,
    /// BCP 47.
    pub locale: String,
    /// Six digits, sealed for `verification:<registration_id>`.
    pub code: Sealed<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub expires_at: OffsetDateTime,
}

event!(
    VerificationRequested,
    "identity.user.verification_requested.v1",
    "A registration waits for the code that was mailed to its address.",
    |e| e.registration_id.to_string(),
    ordered: false
);

/// Someone tried to register with the address of an existing account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RegistrationAttempted {
    pub user_id: UserId,
    pub email: String,
    pub locale: String,
}

event!(
    RegistrationAttempted,
    "identity.user.registration_attempted.v1",
    "A registration named the address of an account that exists.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserRegistered {
    pub user_id: UserId,
    pub email: String,
    pub display_name: Option<String>,
    /// BCP 47.
    pub locale: String,
    /// IANA.
    pub time_zone: String,
    pub roles: Vec<String>,
}

event!(
    UserRegistered,
    "identity.user.registered.v1",
    "An address was proven and became an account.",
    |e| e.user_id.to_string()
);

/// The present state of an account, told again for those who missed its history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserRestated {
    pub user_id: UserId,
    pub email: String,
    pub display_name: Option<String>,
    pub locale: String,
    pub time_zone: String,
    pub roles: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub registered_at: OffsetDateTime,
}

event!(
    UserRestated,
    "identity.user.restated.v1",
    "The present state of an account, published again on request.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RoleGranted {
    pub user_id: UserId,
    pub role: String,
}

event!(
    RoleGranted,
    "identity.user.role_granted.v1",
    "An account was given a role.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RoleRevoked {
    pub user_id: UserId,
    pub role: String,
    /// Access tokens issued until then still name it, and are no longer good.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub tokens_revoked_until: OffsetDateTime,
    /// Access tokens that still name the role may be met until then.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub tokens_expire_at: OffsetDateTime,
}

event!(
    RoleRevoked,
    "identity.user.role_revoked.v1",
    "A role was taken from an account.",
    |e| e.user_id.to_string()
);

/// What a mailed code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CodePurpose {
    SignIn,
    PasswordReset,
    /// One that came after this reader was written.
    #[serde(other)]
    Other,
}

/// Whom a code is mailed to, and the code.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CodeRecipient {
    pub user_id: UserId,
    pub email: String,
    /// BCP 47.
    pub locale: String,
    /// Six digits, sealed for `code:<code_id>`.
    pub code: Sealed<String>,
}

/// Someone wants to sign in, or to set a new password, by a code sent to their address.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CodeRequested {
    pub code_id: Uuid,
    pub purpose: CodePurpose,
    /// Nobody, when the address has no account: whoever asked is answered alike, and nothing is sent.
    pub recipient: Option<CodeRecipient>,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub expires_at: OffsetDateTime,
}

event!(
    CodeRequested,
    "identity.code.requested.v1",
    "Someone asked for a code by mail, to sign in or to set a new password.",
    |e| e.code_id.to_string(),
    ordered: false
);

/// How a password came to be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PasswordChange {
    /// By somebody who knew the one before.
    Changed,
    /// By somebody who was mailed a code.
    Reset,
    /// One that came after this reader was written.
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PasswordChanged {
    pub user_id: UserId,
    pub change: PasswordChange,
}

event!(
    PasswordChanged,
    "identity.user.password_changed.v1",
    "The password of an account became another; all its other sessions ended.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserSuspended {
    pub user_id: UserId,
    /// Access tokens of the account may be met until then.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub tokens_expire_at: OffsetDateTime,
}

event!(
    UserSuspended,
    "identity.user.suspended.v1",
    "An account was shut out; its tokens are no longer good.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserReinstated {
    pub user_id: UserId,
}

event!(
    UserReinstated,
    "identity.user.reinstated.v1",
    "An account that was suspended may be used again.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignInMethod {
    Password,
    /// The code that proved the address also signed in.
    Registration,
    /// A code that was mailed.
    Code,
    /// One that came after this reader was written.
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionStarted {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub method: SignInMethod,
    /// What signed in, for people: "Firefox on Linux". Its address is the event's `client`.
    #[serde(default)]
    pub device: Option<String>,
    /// The account has not been used from such a device and network lately, though it has been used.
    #[serde(default)]
    pub unfamiliar: bool,
}

event!(
    SessionStarted,
    "identity.session.started.v1",
    "Someone signed in.",
    |e| e.user_id.to_string()
);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    LoggedOut,
    Expired,
    /// By its owner from another session, or by an administrator.
    Revoked,
    PasswordChanged,
    Suspended,
    AccountDeleted,
    /// A refresh token that had been exchanged was presented again: stolen, on one side or other.
    TokenReplayed,
    /// One that came after this reader was written.
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionEnded {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub reason: SessionEnd,
    /// Access tokens of the session may be met until then.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub tokens_expire_at: OffsetDateTime,
}

event!(
    SessionEnded,
    "identity.session.ended.v1",
    "A session ended; its tokens are no longer good.",
    |e| e.user_id.to_string()
);

/// Nothing of what was typed is told: people type passwords into the wrong field.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LoginFailed {
    /// The account, if the address belongs to one.
    pub user_id: Option<UserId>,
}

event!(
    LoginFailed,
    "identity.login.failed.v1",
    "A sign-in was refused.",
    |e| e.user_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
    ordered: false
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRegistered {
    pub client_id: String,
    pub display_name: String,
    pub scopes: Vec<String>,
}

event!(
    ServiceRegistered,
    "identity.service.registered.v1",
    "A service was made, which signs in with a secret of its own.",
    |e| e.client_id.clone()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSecretRotated {
    pub client_id: String,
    /// Until then the secret before is good, too.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub previous_good_until: OffsetDateTime,
    /// Access tokens issued until then are no longer good: the secret before was withdrawn at once.
    /// Nothing when there was an overlap.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub tokens_revoked_until: Option<OffsetDateTime>,
    /// Access tokens issued before may be met until then.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub tokens_expire_at: OffsetDateTime,
}

event!(
    ServiceSecretRotated,
    "identity.service.secret_rotated.v1",
    "A service was given a new secret.",
    |e| e.client_id.clone()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceDisabled {
    pub client_id: String,
    /// Access tokens of the service may be met until then.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub tokens_expire_at: OffsetDateTime,
}

event!(
    ServiceDisabled,
    "identity.service.disabled.v1",
    "A service may sign in no more; its tokens are no longer good.",
    |e| e.client_id.clone()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SigningKeyPublished {
    pub kid: String,
    /// The public key (RFC 7517).
    pub jwk: serde_json::Value,
    /// Not before then does it sign.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub active_from: OffsetDateTime,
}

event!(
    SigningKeyPublished,
    "identity.signing_key.published.v1",
    "A key that access tokens will be signed with was made known.",
    |e| e.kid.clone()
);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SigningKeyRetired {
    pub kid: String,
}

event!(
    SigningKeyRetired,
    "identity.signing_key.retired.v1",
    "A key went: every token signed with it has expired.",
    |e| e.kid.clone()
);

pub fn events() -> Vec<EventType> {
    vec![
        EventType::of::<VerificationRequested>(),
        EventType::of::<RegistrationAttempted>(),
        EventType::of::<UserRegistered>(),
        EventType::of::<UserRestated>(),
        EventType::of::<RoleGranted>(),
        EventType::of::<RoleRevoked>(),
        EventType::of::<CodeRequested>(),
        EventType::of::<PasswordChanged>(),
        EventType::of::<UserSuspended>(),
        EventType::of::<UserReinstated>(),
        EventType::of::<SessionStarted>(),
        EventType::of::<SessionEnded>(),
        EventType::of::<LoginFailed>(),
        EventType::of::<ServiceRegistered>(),
        EventType::of::<ServiceSecretRotated>(),
        EventType::of::<ServiceDisabled>(),
        EventType::of::<SigningKeyPublished>(),
        EventType::of::<SigningKeyRetired>(),
    ]
}
