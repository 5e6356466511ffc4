//! `PATCH /api/v1/profiles/me`.

use axum::{
    extract::State as Shared,
    http::{HeaderMap, StatusCode, header},
};
use kernel::{FieldError, Json, Problem, principal::CurrentUser};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::{
    State,
    domain::{Bio, Changes, DisplayName, Invalid, Locale, TimeZone},
    events::ProfileUpdated,
    http::{
        etag::Condition,
        get_me::no_profile,
        view::{self, ProfileView, Reply},
    },
    store::{self, profiles::Update},
};

/// A JSON Merge Patch (RFC 7396): a field that is absent stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchRequest {
    /// null clears it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    display_name: Option<Option<String>>,
    /// null clears it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2000)]
    bio: Option<Option<String>>,
    /// BCP 47, without extensions. Cannot be cleared.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, max_length = 35)]
    locale: Option<Option<String>>,
    /// IANA. Cannot be cleared.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, max_length = 64)]
    time_zone: Option<Option<String>>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(input).map(Some)
}

impl PatchRequest {
    /// What is to change, or everything that is wrong.
    fn parse(self) -> Result<Changes, Vec<FieldError>> {
        let mut errors = Vec::new();
        let changes = Changes {
            display_name: clearable(&mut errors, "/display_name", self.display_name, |text| {
                DisplayName::parse(text)
            }),
            bio: clearable(&mut errors, "/bio", self.bio, Bio::parse),
            locale: required(&mut errors, "/locale", self.locale, Locale::parse),
            time_zone: required(&mut errors, "/time_zone", self.time_zone, TimeZone::parse),
        };
        if errors.is_empty() {
            Ok(changes)
        } else {
            Err(errors)
        }
    }
}

fn clearable<T>(
    errors: &mut Vec<FieldError>,
    field: &str,
    value: Option<Option<String>>,
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Option<Option<T>> {
    match value?.map(|text| parse(&text)).transpose() {
        Ok(value) => Some(value),
        Err(invalid) => {
            errors.push(FieldError::new(field, invalid));
            None
        }
    }
}

fn required<T>(
    errors: &mut Vec<FieldError>,
    field: &str,
    value: Option<Option<String>>,
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Option<T> {
    let parsed = value?
        .ok_or("cannot be cleared")
        .and_then(|text| parse(&text));
    parsed
        .map_err(|invalid| errors.push(FieldError::new(field, invalid)))
        .ok()
}

#[derive(Debug, thiserror::Error)]
enum PatchError {
    #[error("the edit does not say which version it is of")]
    NoCondition,
    #[error("the profile is at another version")]
    Stale,
    #[error("the profile does not exist")]
    Missing,
    #[error("some fields are not valid")]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<PatchError> for Problem {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::NoCondition => Self::new(
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "The edit must say which version it is of",
            )
            .detail("Send the ETag of the profile you read as If-Match."),
            PatchError::Stale => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "precondition-failed",
                "The profile has changed since you read it",
            )
            .detail("Read it again, and repeat the edit on what it is now."),
            PatchError::Missing => no_profile(),
            PatchError::Invalid(errors) => Self::validation(errors),
            PatchError::Database(error) => error.into(),
        }
    }
}

/// Edits the caller's own profile.
#[utoipa::path(
    patch,
    path = "/api/v1/profiles/me",
    operation_id = "patch_my_profile",
    params(
        ("If-Match" = String, Header, description = "The `ETag` of the profile that is edited.")
    ),
    request_body(content(
        (PatchRequest = "application/merge-patch+json"),
        (PatchRequest = "application/json"),
    )),
    responses(
        (status = 200, description = "The profile as it is now", body = ProfileView, headers(
            ("ETag" = String, description = "To be sent back as `If-Match` with the next edit.")
        )),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 404, description = "`profile-not-found`: there is none yet", body = Problem),
        (status = 412, description = "`precondition-failed`: it has changed meanwhile",
            body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is of another media type", body = Problem),
        (status = 422, description = "Fields are unknown or not valid", body = Problem),
        (status = 428, description = "`precondition-required`: `If-Match` is missing",
            body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "profile.patch", skip_all, fields(user.id = %user.id))]
pub(crate) async fn patch_me(
    Shared(state): Shared<State>,
    user: CurrentUser,
    headers: HeaderMap,
    Json(request): Json<PatchRequest>,
) -> Result<Reply, Problem> {
    let condition =
        Condition::strong(&headers, header::IF_MATCH, user.id).ok_or(PatchError::NoCondition)?;
    let versions = match &condition {
        Condition::Any => None,
        Condition::Versions(versions) => Some(&**versions),
    };
    let changes = request.parse().map_err(PatchError::Invalid)?;

    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    let update = store::profiles::update(&mut tx, user.id, versions, &changes, now)
        .await
        .map_err(PatchError::Database)?;
    let profile = match update {
        Update::Changed(old, new) => {
            tx.publish(&ProfileUpdated {
                user_id: user.id,
                display_name: new.display_name.clone(),
                locale: new.locale.clone(),
                time_zone: new.time_zone.clone(),
                changed: old.differences(&new),
            });
            new
        }
        Update::Unchanged(profile) => profile,
        Update::Stale => return Err(PatchError::Stale.into()),
        Update::Missing => return Err(PatchError::Missing.into()),
    };
    tx.commit().await?;
    Ok(view::reply(profile))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Changes, Vec<String>> {
        let request: PatchRequest = serde_json::from_str(body).map_err(|_| vec![])?;
        request
            .parse()
            .map_err(|errors| errors.into_iter().map(|e| e.field).collect())
    }

    #[test]
    fn absent_stays_null_clears_and_all_errors_are_told() {
        assert_eq!(parse("{}").unwrap(), Changes::default());
        let changes = parse(r#"{"display_name": null, "locale": "de-at"}"#).unwrap();
        assert_eq!(changes.display_name, Some(None));
        assert_eq!(changes.bio, None);
        assert_eq!(changes.locale, Some(Locale::parse("de-AT").unwrap()));
        let wrong = r#"{"display_name": " ", "locale": null, "time_zone": "Nowhere"}"#;
        assert_eq!(
            parse(wrong).unwrap_err(),
            ["/display_name", "/locale", "/time_zone"]
        );
        assert!(parse(r#"{"version": 2}"#).is_err());
        assert!(parse(r#"{"bio": 1}"#).is_err());
        assert!(parse(r#"{"bio": "a", "bio": "b"}"#).is_err());
    }
}
