//! `GET /api/v1/profiles/{id}/avatar`.

use axum::{
    extract::State as Shared,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kernel::{Path, Problem, Query, UserId, etag::Condition};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    State,
    blobs::Key,
    domain::AvatarSize,
    http::{put_avatar::no_store, view::PictureBytes},
    store,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AvatarQuery {
    /// As in `avatar_url`: unguessable, and another one for each picture.
    v: Uuid,
    /// The square that it fits into, in pixels; 512 if not said.
    #[serde(default)]
    #[param(inline)]
    size: AvatarSize,
}

/// Somebody's picture, by the address that their profile told (`avatar_url`). Who knows the address may see
/// it: an `<img>` carries no token.
#[utoipa::path(
    get,
    path = "/api/v1/profiles/{id}/avatar",
    operation_id = "get_avatar",
    params(
        ("id" = UserId, Path, description = "The account's id."),
        AvatarQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy at hand.")
    ),
    responses(
        (status = 200, description = "The picture. What has this address never changes.", content(
            (inline(PictureBytes) = "image/jpeg"),
            (inline(PictureBytes) = "image/png"),
        ), headers(("ETag" = String))),
        (status = 304, description = "The copy at hand is the picture"),
        (status = 404, description = "There is no such picture, or not any more", body = Problem),
        (status = 422, description = "The parameters are not valid", body = Problem),
        (status = 503, description = "The store of pictures or the database is not available",
            body = Problem),
    )
)]
#[tracing::instrument(name = "profile.get_avatar", skip_all, fields(profile.user_id = %user_id))]
pub(crate) async fn get_avatar(
    Shared(state): Shared<State>,
    Path(user_id): Path<UserId>,
    Query(query): Query<AvatarQuery>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let mut conn = state.db.pool().acquire().await?;
    let found = store::avatars::find(&mut conn, user_id, query.v).await?;
    drop(conn);
    let (avatar_id, media_type) = found.ok_or_else(Problem::not_found)?;
    let tag = format!("\"{}.{}\"", query.v.simple(), query.size.pixels());
    let tag = HeaderValue::try_from(tag).expect("hex digits and quotes");
    let known = Condition::weak(&request, header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.holds(&tag)) {
        return Ok((StatusCode::NOT_MODIFIED, caching(tag)).into_response());
    }
    let key = Key::of_avatar(avatar_id, query.size);
    let content = state.blobs.get(&key).await.map_err(no_store)?;
    // Replaced since the row was read, if it is not there.
    let content = content.ok_or_else(Problem::not_found)?;
    let media_type = HeaderValue::try_from(media_type).expect("one of two");
    let as_picture = [
        (header::CONTENT_TYPE, media_type),
        // Opened by itself, it is a picture and nothing else, whatever a browser might find in it.
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; sandbox"),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("inline"),
        ),
        // The product's pages may be of another origin than the API.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
    ];
    Ok((caching(tag), as_picture, content).into_response())
}

/// For ever, by those who have seen it; not by caches in between, from which it could not be taken back.
fn caching(tag: HeaderValue) -> [(HeaderName, HeaderValue); 2] {
    [
        (header::ETAG, tag),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
    ]
}
