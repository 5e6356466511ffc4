//! `POST /notifications/unsubscribe`.

use axum::{
    body::Bytes,
    extract::{State as Shared, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use kernel::{Problem, Query};
use utoipa::ToSchema;

use super::{Step, UnsubscribeParams, locale, page, unknown};
use crate::{State, domain::Channel, store};

/// What mail programs post, and the page too.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "it describes the form; the body is read as it came"
)]
pub(crate) struct UnsubscribeRequest {
    #[schema(rename = "List-Unsubscribe", examples("One-Click"))]
    list_unsubscribe: String,
}

/// Stops mails of a kind.
///
/// No cookie and no origin is asked for: mail programs post it from their own servers (RFC 8058
/// §3.2), and the token says all that it is good for. Repeating it changes nothing.
#[utoipa::path(
    post,
    path = "/notifications/unsubscribe",
    operation_id = "unsubscribe",
    params(UnsubscribeParams),
    request_body(content(
        (UnsubscribeRequest = "application/x-www-form-urlencoded"),
        (UnsubscribeRequest = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "They have stopped", content_type = "text/html",
            body = String),
        (status = 400, description = "The body is not the one that RFC 8058 asks for",
            body = Problem),
        (status = 404, description = "The link is not one of ours, or its person is gone",
            content_type = "text/html", body = String),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 422, description = "`token` is missing", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.unsubscribe", skip_all)]
pub(crate) async fn unsubscribe(
    Shared(state): Shared<State>,
    Query(params): Query<UnsubscribeParams>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|_| Problem::payload_too_large())?;
    if !is_one_click(&body) {
        return Err(Problem::malformed(
            "The body must be List-Unsubscribe=One-Click.",
        ));
    }
    let Some((user_id, category)) = state.unsubscriber.read(&params.token) else {
        return Ok(unknown());
    };
    let Some(locale) = locale(&state, user_id).await? else {
        return Ok(unknown());
    };
    let now = state.db.world().now();
    let mut conn = state.db.pool().acquire().await?;
    if !store::preferences::mute(&mut conn, user_id, category, Channel::Email, now).await? {
        return Ok(unknown());
    }
    tracing::info!(user.id = %user_id, category = category.as_str(), "mails unsubscribed from");
    Ok(page(StatusCode::OK, Step::Done, category, locale))
}

/// The one form that there is (RFC 8058 §3.1), in either of the two encodings of forms.
fn is_one_click(body: &[u8]) -> bool {
    const MAX_BYTES: usize = 4096;
    let text = String::from_utf8_lossy(body.get(..MAX_BYTES).unwrap_or(body));
    let multipart = || {
        text.split_once("name=\"List-Unsubscribe\"")
            .is_some_and(|(_, rest)| rest.trim_start().starts_with("One-Click"))
    };
    text.trim() == "List-Unsubscribe=One-Click" || multipart()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_of_the_form_are_read_and_nothing_else_is() {
        let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\n\
                         One-Click\r\n--b--\r\n";
        for (body, good) in [
            ("List-Unsubscribe=One-Click", true),
            ("List-Unsubscribe=One-Click\r\n", true),
            (multipart, true),
            ("", false),
            ("List-Unsubscribe=", false),
            ("list-unsubscribe=one-click", false),
            ("x=1&List-Unsubscribe=One-Click", false),
            (&multipart.replace("One-Click", "Two"), false),
            (&"x".repeat(100_000), false),
        ] {
            assert_eq!(is_one_click(body.as_bytes()), good, "{body:.80}");
        }
    }
}
