//! A profile as its owner sees it.

use axum::http::{HeaderName, HeaderValue, header};
use kernel::{Json, UserId};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{domain::Profile, http::etag};

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
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// A body with the headers that make it cacheable by its owner, and by nobody else.
pub(crate) type Reply = ([(HeaderName, HeaderValue); 3], Json<ProfileView>);

pub(crate) fn headers(profile: &Profile) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::ETAG, etag::of(profile)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ),
        (
            header::VARY,
            HeaderValue::from_static("authorization, cookie"),
        ),
    ]
}

pub(crate) fn reply(profile: Profile) -> Reply {
    let headers = headers(&profile);
    let Profile {
        user_id,
        display_name,
        bio,
        locale,
        time_zone,
        created_at,
        updated_at,
        ..
    } = profile;
    let view = ProfileView {
        user_id,
        display_name,
        bio,
        locale,
        time_zone,
        created_at,
        updated_at,
    };
    (headers, Json(view))
}
