//! `PATCH /api/v1/profiles/me`.

use std::collections::BTreeMap;

use axum::{
    extract::State as Shared,
    http::{HeaderMap, header},
    response::Response,
};
use kernel::{
    FieldError, Json, Problem, UserId,
    etag::{Condition, precondition_failed, precondition_required},
    principal::CurrentUser,
};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    State,
    domain::{
        Audience, Bio, Changes, DisplayName, Field, Invalid, Link, Locale, Profile, TimeZone,
        Visible,
    },
    edit,
    http::{
        etag,
        get_me::no_profile,
        view::{self, ProfileView},
    },
    store,
};

/// A JSON Merge Patch (RFC 7396): a field that is absent stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchRequest {
    /// null clears it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    pub(super) display_name: Option<Option<String>>,
    /// null clears it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2000)]
    pub(super) bio: Option<Option<String>>,
    /// BCP 47, without extensions. Cannot be cleared.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, max_length = 35)]
    pub(super) locale: Option<Option<String>>,
    /// IANA. Cannot be cleared.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, max_length = 64)]
    pub(super) time_zone: Option<Option<String>>,
    /// The whole list; null empties it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<LinkRequest>>, max_items = 10)]
    pub(super) links: Option<Option<Vec<LinkRequest>>>,
    /// Merged into what is there: null takes a member away, and in place of the object all of them. At
    /// most 8192 bytes, 100 keys, 5 levels.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub(super) attributes: Option<Option<Map<String, Value>>>,
    /// Merged into what is there: null is the default, which is `members` for the avatar and `private`
    /// for all else.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<VisibilityRequest>)]
    pub(super) visibility: Option<Option<BTreeMap<Field, Option<Audience>>>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkRequest {
    #[schema(min_length = 1, max_length = 50)]
    pub(super) label: String,
    /// `https:`, `http:` or `mailto:`, without user name or password.
    #[schema(max_length = 500)]
    pub(super) url: String,
}

/// Who is to see each field.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a map from Field to Audience")]
pub(crate) struct VisibilityRequest {
    attributes: Option<Audience>,
    avatar: Option<Audience>,
    bio: Option<Audience>,
    links: Option<Audience>,
    locale: Option<Audience>,
    time_zone: Option<Audience>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    input: D,
) -> Result<Option<Option<T>>, D::Error> {
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
            links: self
                .links
                .map(|links| parse_links(&mut errors, links.unwrap_or_default())),
            attributes: self.attributes,
            visibility: self.visibility.map_or_else(Vec::new, visibility),
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

fn parse_links(errors: &mut Vec<FieldError>, links: Vec<LinkRequest>) -> Vec<Link> {
    if links.len() > Link::MAX_LINKS {
        errors.push(FieldError::new("/links", "must be at most 10"));
        return Vec::new();
    }
    let parsed = links.into_iter().enumerate().filter_map(|(at, link)| {
        Link::parse(&link.label, &link.url)
            .map_err(|(member, invalid)| {
                errors.push(FieldError::new(format!("/links/{at}/{member}"), invalid));
            })
            .ok()
    });
    parsed.collect()
}

fn visibility(given: Option<BTreeMap<Field, Option<Audience>>>) -> Vec<(Field, Audience)> {
    let all = || Field::ALL.map(|field| (field, None)).into();
    given
        .unwrap_or_else(all)
        .into_iter()
        .map(|(field, audience)| (field, audience.unwrap_or(Visible::by_default(field))))
        .collect()
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PatchError {
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
            PatchError::NoCondition => precondition_required(),
            PatchError::Stale => precondition_failed(),
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
) -> Result<Response, Problem> {
    let condition = Condition::strong(&headers, header::IF_MATCH).ok_or(PatchError::NoCondition)?;
    let profile = patch(&state, user.id, &condition, request).await?;
    Ok(view::own(&state, profile))
}

/// Edits a profile, if it is still the one that the condition names.
pub(super) async fn patch(
    state: &State,
    user_id: UserId,
    condition: &Condition,
    request: PatchRequest,
) -> Result<Profile, PatchError> {
    let changes = request.parse().map_err(PatchError::Invalid)?;

    let mut tx = state.db.begin().await?;
    let old = store::profiles::lock(&mut tx, user_id).await?;
    let old = old.ok_or(PatchError::Missing)?;
    if !condition.holds(&etag::of_profile(&old)) {
        return Err(PatchError::Stale);
    }
    let new = old
        .edited(changes)
        .map_err(|invalid| PatchError::Invalid(vec![FieldError::new("/attributes", invalid)]))?;
    let profile = edit::save(state, &mut tx, &old, new).await?;
    tx.commit().await?;
    Ok(profile)
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

    #[test]
    fn links_are_all_looked_at() {
        let one = r#"{"label": "Blog", "url": "https://e.org"}"#;
        let links = parse(&format!(r#"{{"links": [{one}]}}"#)).unwrap().links;
        assert_eq!(links.unwrap()[0].url, "https://e.org/");
        assert_eq!(parse(r#"{"links": null}"#).unwrap().links, Some(vec![]));
        assert_eq!(parse("{}").unwrap().links, None);
        let wrong =
            r#"{"label": "", "url": "https://e.org"}, {"label": "x", "url": "javascript:x"}"#;
        assert_eq!(
            parse(&format!(r#"{{"links": [{one}, {wrong}]}}"#)).unwrap_err(),
            ["/links/1/label", "/links/2/url"]
        );
        let many = [one; 11].join(",");
        assert_eq!(
            parse(&format!(r#"{{"links": [{many}]}}"#)).unwrap_err(),
            ["/links"]
        );
        assert!(
            parse(r#"{"links": [{"label": "x", "url": "https://e.org", "rel": "me"}]}"#).is_err()
        );
    }

    #[test]
    fn visibility_is_merged_and_null_is_the_default() {
        let visibility = |body: &str| parse(body).map(|changes| changes.visibility);
        assert_eq!(visibility("{}").unwrap(), []);
        assert_eq!(
            visibility(r#"{"visibility": {"bio": "members", "avatar": null}}"#).unwrap(),
            [
                (Field::Avatar, Audience::Members),
                (Field::Bio, Audience::Members)
            ]
        );
        let all = visibility(r#"{"visibility": null}"#).unwrap();
        assert_eq!(all.len(), Field::ALL.len());
        assert!(visibility(r#"{"visibility": {"display_name": "private"}}"#).is_err());
        assert!(visibility(r#"{"visibility": {"bio": "everyone"}}"#).is_err());
        assert!(visibility(r#"{"visibility": {"email": "members"}}"#).is_err());
    }
}
