//! The picture, from the form on `/account/profile`.

use axum::{extract::State as Shared, http::StatusCode, response::Response};
use kernel::{Form, Language, Problem, Text, Upload, form::see_other, principal::CurrentUser};
use serde::Deserialize;

use super::{edit::present, texts};
use crate::{
    State,
    http::{delete_avatar::take_away, put_avatar::put},
};

#[tracing::instrument(name = "profile.page.replace_picture", skip_all, fields(user.id = %caller.id))]
pub(super) async fn replace(
    Shared(state): Shared<State>,
    language: Language,
    caller: CurrentUser,
    Upload(file): Upload,
) -> Result<Response, Problem> {
    let (status, wrong) = if file.is_empty() {
        (StatusCode::UNPROCESSABLE_ENTITY, texts::NO_FILE)
    } else {
        match put(&state, caller.id, file, |_| Ok(())).await {
            Ok(_) => return Ok(see_other("/account/profile?done=picture")),
            Err(problem) => match sentence(&problem) {
                Some(wrong) => (problem.status_code(), wrong),
                None => return Err(problem),
            },
        }
    };
    let mut page = present(&state, language, caller).await?;
    page.status = status;
    page.wrong_picture = Some(wrong);
    Ok(page.answer())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

#[tracing::instrument(name = "profile.page.remove_picture", skip_all, fields(user.id = %caller.id))]
pub(super) async fn remove(
    Shared(state): Shared<State>,
    caller: CurrentUser,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Problem> {
    take_away(&state, caller.id, |_| Ok(())).await?;
    Ok(see_other("/account/profile?done=removed"))
}

/// What is wrong with a picture; nothing when it is not the picture.
fn sentence(problem: &Problem) -> Option<Text> {
    Some(match problem.kind.trim_start_matches("/problems/") {
        "unsupported-media-type" => texts::WRONG_FORMAT,
        "too-many-pixels" => texts::TOO_MANY_PIXELS,
        "unreadable-picture" => texts::UNREADABLE,
        "payload-too-large" => texts::TOO_LARGE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::PictureError;

    #[test]
    fn every_fault_of_a_picture_is_told() {
        for error in [
            PictureError::UnknownFormat,
            PictureError::TooManyPixels,
            PictureError::Unreadable,
        ] {
            assert!(sentence(&error.into()).is_some());
        }
        assert!(sentence(&Problem::payload_too_large()).is_some());
        assert!(sentence(&PictureError::Busy.into()).is_none());
    }
}
