//! A profile as its owner sees it, and as others do.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kernel::{UserId, etag::Condition, mime};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    State,
    domain::{Audience, Field, Link, Profile},
    http::etag,
};

/// What a person tells of themselves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileView {
    user_id: UserId,
    #[schema(max_length = 100, examples("Ada Lovelace"))]
    display_name: Option<String>,
    #[schema(max_length = 2000)]
    bio: Option<String>,
    /// BCP 47.
    #[schema(examples("de-AT"))]
    locale: String,
    /// IANA.
    #[schema(examples("Europe/Vienna"))]
    time_zone: String,
    #[schema(max_items = 10)]
    links: Vec<LinkView>,
    /// What the product keeps of the person.
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    /// Where the picture is. With `&size=96` added, a small one.
    #[schema(format = "uri")]
    avatar_url: Option<String>,
    /// Who sees what; the display name is always seen.
    #[schema(value_type = VisibilityView)]
    visibility: BTreeMap<Field, Audience>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// What a person shows to those who are signed in. A field that they keep to themselves is absent,
/// and so is one that is empty.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublicProfileView {
    user_id: UserId,
    #[schema(max_length = 100, examples("Ada Lovelace"))]
    pub(super) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bio: Option<String>,
    /// BCP 47.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) locale: Option<String>,
    /// IANA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_zone: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 10)]
    pub(super) links: Vec<LinkView>,
    /// What the product keeps of the person.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(required = false, value_type = Object)]
    pub(super) attributes: Map<String, Value>,
    /// Where the picture is. With `&size=96` added, a small one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri")]
    pub(super) avatar_url: Option<String>,
}

/// Somewhere else to find a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkView {
    #[schema(max_length = 50, examples("Blog"))]
    pub(super) label: String,
    /// `https:`, `http:` or `mailto:`, without user name or password.
    #[schema(max_length = 500, examples("https://ada.example/"))]
    pub(super) url: String,
}

/// The bytes of a picture.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct PictureBytes(Vec<u8>);

/// Who sees each field that can be kept private.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a map from Field to Audience")]
pub(crate) struct VisibilityView {
    attributes: Audience,
    avatar: Audience,
    bio: Audience,
    links: Audience,
    locale: Audience,
    time_zone: Audience,
}

impl From<Link> for LinkView {
    fn from(Link { label, url }: Link) -> Self {
        Self { label, url }
    }
}

impl ProfileView {
    fn new(state: &State, profile: Profile) -> Self {
        let visible = &profile.visible;
        Self {
            visibility: Field::ALL
                .map(|field| (field, visible.audience(field)))
                .into(),
            avatar_url: state.avatar_url(&profile),
            user_id: profile.user_id,
            display_name: profile.display_name,
            bio: profile.bio,
            locale: profile.locale,
            time_zone: profile.time_zone,
            links: profile.links.into_iter().map(LinkView::from).collect(),
            attributes: profile.attributes.into_members(),
            created_at: profile.created_at,
            updated_at: profile.updated_at,
        }
    }
}

impl PublicProfileView {
    pub(super) fn new(state: &State, profile: Profile) -> Self {
        let avatar_url = state.avatar_url(&profile);
        let Profile {
            user_id,
            display_name,
            bio,
            locale,
            time_zone,
            links,
            attributes,
            visible,
            ..
        } = profile;
        let shown = |field| visible.contains(field);
        let links = links.into_iter().filter(|_| shown(Field::Links));
        Self {
            avatar_url: avatar_url.filter(|_| shown(Field::Avatar)),
            user_id,
            display_name,
            bio: bio.filter(|_| shown(Field::Bio)),
            locale: shown(Field::Locale).then_some(locale),
            time_zone: shown(Field::TimeZone).then_some(time_zone),
            links: links.map(LinkView::from).collect(),
            attributes: if shown(Field::Attributes) {
                attributes.into_members()
            } else {
                Map::new()
            },
        }
    }
}

/// For its owner.
pub(crate) fn own(state: &State, profile: Profile) -> Response {
    let tag = etag::of_profile(&profile);
    let body = serde_json::to_string(&ProfileView::new(state, profile)).expect("plain data");
    (headers(tag), body).into_response()
}

/// The same, or 304 when the caller has it already.
pub(crate) fn own_unless_known(state: &State, request: &HeaderMap, profile: Profile) -> Response {
    let tag = etag::of_profile(&profile);
    if is_known(request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers(tag)).into_response();
    }
    own(state, profile)
}

/// For everybody else who is signed in, or 304 when they have it already.
pub(crate) fn public_unless_known(
    state: &State,
    request: &HeaderMap,
    profile: Profile,
) -> Response {
    let body = serde_json::to_string(&PublicProfileView::new(state, profile)).expect("plain data");
    let tag = etag::of_body(&body);
    if is_known(request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers(tag)).into_response();
    }
    (headers(tag), body).into_response()
}

fn is_known(request: &HeaderMap, tag: &HeaderValue) -> bool {
    Condition::weak(request, header::IF_NONE_MATCH).is_some_and(|known| known.holds(tag))
}

/// Cacheable by who asked, and by nobody else.
fn headers(tag: HeaderValue) -> [(HeaderName, HeaderValue); 4] {
    let text = HeaderValue::from_static;
    [
        (header::CONTENT_TYPE, text(mime::JSON)),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, text("private, no-cache")),
        (header::VARY, text("authorization, cookie")),
    ]
}
