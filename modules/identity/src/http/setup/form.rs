//! `GET /setup`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode, response::Response};

use super::{ClosedPage, FormPage, page};
use crate::{State, http::error::Error, store};

/// The page that makes the first administrator.
///
/// It asks for the code that was shown where the program was started.
#[utoipa::path(
    get,
    path = "/setup",
    operation_id = "setup_form",
    responses(
        (status = 200, description = "The form", body = String, content_type = "text/html"),
        (status = 404, description = "There is an administrator", body = String,
         content_type = "text/html"),
    )
)]
#[tracing::instrument(name = "identity.setup_form", skip_all)]
pub(crate) async fn form(Shared(state): Shared<Arc<State>>) -> Result<Response, Error> {
    let mut conn = state.db.pool().acquire().await?;
    if store::users::has_admin(&mut conn).await? {
        return Ok(page(StatusCode::NOT_FOUND, &ClosedPage));
    }
    Ok(page(StatusCode::OK, &FormPage::default()))
}
