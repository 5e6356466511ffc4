//! `PUT /api/v1/profiles/me/avatar`.

use axum::{
    body::{Body, Bytes},
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use kernel::{Problem, UserId, principal::CurrentUser};
use uuid::Builder;

use crate::{
    State,
    blobs::Key,
    domain::{Avatar, Profile},
    edit,
    http::{
        etag,
        get_me::no_profile,
        view::{self, PictureBytes, ProfileView},
    },
    pictures::{Picture, PictureError},
    store,
};

impl From<PictureError> for Problem {
    fn from(error: PictureError) -> Self {
        let unfit =
            |kind: &str, title: &str| Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title);
        match error {
            PictureError::UnknownFormat => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The picture must be PNG, JPEG, WebP or GIF",
            )
            .detail("What it is shows in its first bytes, whatever Content-Type says."),
            PictureError::TooManyPixels => {
                unfit("too-many-pixels", "The picture has too many pixels")
                    .detail("Send a smaller one: it is shown with 512 pixels a side at most.")
            }
            PictureError::Unreadable => {
                unfit("unreadable-picture", "The picture is incomplete or broken")
            }
            PictureError::Busy => Self::unavailable("Too many pictures come in at once.", 2),
        }
    }
}

/// Gives the caller's profile a picture, in place of the one that it has.
#[utoipa::path(
    put,
    path = "/api/v1/profiles/me/avatar",
    operation_id = "put_my_avatar",
    params(
        ("If-Match" = Option<String>, Header,
            description = "The `ETag` of the profile, if it must be that one.")
    ),
    request_body(description = "The picture. Of a moving one, the first frame is taken.", content(
        (inline(PictureBytes) = "image/png"),
        (inline(PictureBytes) = "image/jpeg"),
        (inline(PictureBytes) = "image/webp"),
        (inline(PictureBytes) = "image/gif"),
    )),
    responses(
        (status = 200, description = "The profile as it is now", body = ProfileView, headers(
            ("ETag" = String, description = "To be sent back as `If-Match` with the next edit.")
        )),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 404, description = "`profile-not-found`: there is none yet", body = Problem),
        (status = 412, description = "`precondition-failed`: the profile has changed meanwhile",
            body = Problem),
        (status = 413, description = "The picture has too many bytes", body = Problem),
        (status = 415, description = "It is of another format", body = Problem),
        (status = 422, description = "`too-many-pixels`, or `unreadable-picture`", body = Problem),
        (status = 503, description = "Too many pictures come in, or the store of pictures or the \
            database is not available", body = Problem),
    )
)]
#[tracing::instrument(name = "profile.put_avatar", skip_all, fields(user.id = %user.id))]
pub(crate) async fn put_avatar(
    Shared(state): Shared<State>,
    user: CurrentUser,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // To its end, which the edge bounds: a gateway that is still sending would take an early answer for a
    // broken connection.
    let upload = axum::body::to_bytes(body, usize::MAX).await;
    let upload = upload.map_err(|_| Problem::payload_too_large())?;
    let check = |profile: &Profile| etag::check_if_given(&headers, profile);
    let profile = put(&state, user.id, upload, check).await?;
    Ok(view::own(&state, profile))
}

/// Gives a profile a picture, if the check of it as it is allows that.
pub(super) async fn put(
    state: &State,
    user_id: UserId,
    upload: Bytes,
    check: impl FnOnce(&Profile) -> Result<(), Problem>,
) -> Result<Profile, Problem> {
    if upload.len() > state.config.avatar_max_bytes {
        return Err(Problem::payload_too_large());
    }
    let Picture { media_type, sizes } = state.pictures.shrink(upload).await?;

    let world = state.db.world();
    let random = || Builder::from_random_bytes(world.bytes()).into_uuid();
    let avatar = Avatar {
        id: random(),
        version: random(),
    };
    // Known before it is stored: if this ends halfway, a job finds what is left.
    let mut conn = state.db.pool().acquire().await?;
    store::avatars::announce(&mut conn, avatar.id, user_id, media_type, world.now()).await?;
    drop(conn);
    for (size, content) in sizes {
        let key = Key::of_avatar(avatar.id, size);
        state.blobs.put(&key, content).await.map_err(no_store)?;
    }

    let now = world.now();
    let mut tx = state.db.begin().await?;
    let old = store::profiles::lock(&mut tx, user_id).await?;
    let old = old.ok_or_else(no_profile)?;
    check(&old)?;
    store::avatars::drop_kept(&mut tx, user_id, now).await?;
    if !store::avatars::keep(&mut tx, avatar.id, now).await? {
        return Err(Problem::unavailable(
            "Storing the picture took too long.",
            1,
        ));
    }
    let new = Profile {
        avatar: Some(avatar),
        ..old.clone()
    };
    let profile = edit::save(state, &mut tx, &old, new).await?;
    tx.commit().await?;
    Ok(profile)
}

/// The cause is for the log: it may name hosts and folders.
pub(crate) fn no_store(error: anyhow::Error) -> Problem {
    tracing::error!(
        error = format!("{error:#}"),
        "the store of pictures is not available"
    );
    Problem::unavailable("The store of pictures is not available.", 5)
}
