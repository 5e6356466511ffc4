//! `GET /notifications/unsubscribe`.

use axum::{extract::State as Shared, http::StatusCode, response::Response};
use kernel::{Problem, Query};

use super::{Step, UnsubscribeParams, locale, page, unknown};
use crate::State;

/// Asks whether mails of a kind are to stop. It changes nothing: programs look at links before
/// people do.
#[utoipa::path(
    get,
    path = "/notifications/unsubscribe",
    operation_id = "unsubscribe_form",
    params(UnsubscribeParams),
    responses(
        (status = 200, description = "A page with a button", content_type = "text/html",
            body = String),
        (status = 404, description = "The link is not one of ours, or its person is gone",
            content_type = "text/html", body = String),
        (status = 422, description = "`token` is missing", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.unsubscribe_form", skip_all)]
pub(crate) async fn unsubscribe_form(
    Shared(state): Shared<State>,
    Query(params): Query<UnsubscribeParams>,
) -> Result<Response, Problem> {
    let Some((user_id, category)) = state.unsubscriber.read(&params.token) else {
        return Ok(unknown());
    };
    Ok(match locale(&state, user_id).await? {
        Some(locale) => page(StatusCode::OK, Step::Ask, category, locale),
        None => unknown(),
    })
}
