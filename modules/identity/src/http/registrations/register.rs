//! `POST /api/v1/auth/registrations`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{FieldError, Json, Problem, Secret};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::publish_mail;
use crate::{
    State,
    config::Config,
    domain::{DisplayName, Email, Invalid, Locale, Password, TimeZone, VerificationCode},
    http::error::Error,
    store::{self, registrations::NewRegistration},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterRequest {
    #[schema(max_length = 254, examples("ada@example.org"))]
    pub(crate) email: String,
    /// At least 8 characters, at most 256 bytes, and none of the common ones. Without one, codes by
    /// mail sign in.
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 256)]
    pub(crate) password: Option<Secret>,
    #[schema(min_length = 1, max_length = 100, examples("Ada Lovelace"))]
    pub(crate) display_name: Option<String>,
    /// BCP 47.
    #[schema(max_length = 35, examples("de-AT"))]
    pub(crate) locale: Option<String>,
    /// IANA.
    #[schema(max_length = 64, examples("Europe/Vienna"))]
    pub(crate) time_zone: Option<String>,
}

/// What was asked for, in types that cannot be wrong.
#[derive(Debug)]
struct Registration {
    email: Email,
    password: Option<Password>,
    display_name: Option<DisplayName>,
    locale: Locale,
    time_zone: TimeZone,
}

impl RegisterRequest {
    /// What to register, or everything that is wrong.
    fn parse(self, config: &Config) -> Result<Registration, Vec<FieldError>> {
        let mut errors = Vec::new();
        let email = check(&mut errors, "/email", Email::parse(&self.email));
        let words = [Some(&*self.email), self.display_name.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        let password = self.password.and_then(|password| {
            let parsed = Password::parse(&password, &words);
            check(&mut errors, "/password", parsed)
        });
        let display_name = optional(
            &mut errors,
            "/display_name",
            self.display_name,
            DisplayName::parse,
        );
        let locale = optional(&mut errors, "/locale", self.locale, Locale::parse);
        let time_zone = optional(&mut errors, "/time_zone", self.time_zone, TimeZone::parse);
        match email {
            Some(email) if errors.is_empty() => Ok(Registration {
                email,
                password,
                display_name,
                locale: locale.unwrap_or_else(|| config.default_locale.clone()),
                time_zone: time_zone.unwrap_or_else(|| config.default_time_zone.clone()),
            }),
            _ => Err(errors),
        }
    }
}

fn check<T>(errors: &mut Vec<FieldError>, field: &str, parsed: Result<T, Invalid>) -> Option<T> {
    parsed
        .map_err(|invalid| errors.push(FieldError::new(field, invalid)))
        .ok()
}

fn optional<T>(
    errors: &mut Vec<FieldError>,
    field: &str,
    value: Option<String>,
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Option<T> {
    value.and_then(|text| check(errors, field, parse(&text)))
}

/// A registration that waits for its code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RegistrationResponse {
    pub(crate) id: Uuid,
    /// Until then the code is good.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// Asks for an account.
///
/// A code of six digits is mailed to the address; the account exists once the code came back. The
/// answer is the same, and takes as long, if the address has an account already: then its owner is
/// told that somebody tried, and no code is good for the registration.
#[utoipa::path(
    post,
    path = "/api/v1/auth/registrations",
    operation_id = "register",
    request_body = RegisterRequest,
    responses(
        (status = 202, description = "If the address can be registered, a code is on its way to it",
         body = RegistrationResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 403, description = "Nobody can register here: `registration-closed`", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "Some fields are not valid", body = Problem),
        (status = 503, description = "Too many are registering; see Retry-After", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.register", skip_all)]
pub(crate) async fn register(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<RegisterRequest>,
) -> Result<(StatusCode, Json<RegistrationResponse>), Error> {
    let begun = begin(&state, request).await?;
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

/// Has a code mailed, or the owner of the address told that somebody tried.
pub(crate) async fn begin(
    state: &State,
    request: RegisterRequest,
) -> Result<RegistrationResponse, Error> {
    if !state.config.registration.open {
        return Err(Error::RegistrationClosed);
    }
    let new = request.parse(&state.config).map_err(Error::Invalid)?;
    // Whoever has the address: what is only done for a free one can be timed.
    let password_hash = match new.password {
        Some(password) => {
            let place = state.passwords.reserve()?;
            Some(state.passwords.hash(place, password).await?)
        }
        None => None,
    };
    let bounds = state.config.registration;
    let world = state.db.world();
    let now = world.now();
    let id = world.uuid();
    let expires_at = now + bounds.lifetime;
    let code = VerificationCode::random(world);

    let mut tx = state.db.begin().await?;
    store::address_lock::lock(&mut tx, "identity.registrations", &new.email).await?;
    let recipient = store::registrations::insert(
        &mut tx,
        &NewRegistration {
            registration_id: id,
            email: &new.email,
            password_hash: password_hash.as_deref(),
            display_name: new.display_name.as_ref().map(DisplayName::as_str),
            locale: new.locale.as_str(),
            time_zone: new.time_zone.as_str(),
            code_digest: &code.digest(&state.keys.verification_codes, id),
            expires_at,
        },
        bounds,
        now,
    )
    .await?;
    // Nobody hears of one too many, not even by another answer: that would tell whoever asks that
    // others registered the address before.
    if let Some(recipient) = recipient {
        publish_mail(&mut tx, state, id, recipient, &code);
    }
    tx.commit().await?;
    Ok(RegistrationResponse { id, expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Registration, Vec<String>> {
        let request: RegisterRequest = serde_json::from_str(body).map_err(|_| vec![])?;
        request
            .parse(&crate::config::defaults())
            .map_err(|errors| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn defaults_fill_in_and_all_errors_are_told() {
        let new = parse(r#"{"email": "Ada@example.org", "password": "correct horse"}"#).unwrap();
        assert_eq!(new.email.as_str(), "Ada@example.org");
        assert_eq!(new.locale.as_str(), "en");
        assert_eq!(new.time_zone.as_str(), "UTC");
        let without = parse(r#"{"email": "Ada@example.org"}"#).unwrap();
        assert!(without.password.is_none());
        let full = r#"{"email": "a@example.org", "password": "correct horse",
                       "display_name": " Ada ", "locale": "de-at", "time_zone": "Europe/Vienna"}"#;
        let new = parse(full).unwrap();
        assert_eq!(new.display_name.unwrap().as_str(), "Ada");
        assert_eq!(new.locale.as_str(), "de-AT");
        let wrong = r#"{"email": "ada", "password": "short", "display_name": "", "locale": "x",
                        "time_zone": "Vienna"}"#;
        assert_eq!(
            parse(wrong).unwrap_err(),
            [
                "/email",
                "/password",
                "/display_name",
                "/locale",
                "/time_zone"
            ]
        );
        // Nobody makes themselves an administrator.
        let roles =
            r#"{"email": "a@example.org", "password": "correct horse", "roles": ["admin"]}"#;
        assert!(parse(roles).is_err());
    }

    #[test]
    fn what_was_asked_for_prints_no_personal_data() {
        let body = r#"{"email": "ada@example.org", "password": "correct horse",
                       "display_name": "Lovelace"}"#;
        let printed = format!("{:?}", parse(body).unwrap());
        for part in ["ada", "horse", "Lovelace"] {
            assert!(!printed.contains(part), "{printed}");
        }
    }
}
