//! `GET /api/v1/notifications/templates/{id}`.

use axum::extract::State as Shared;
use kernel::{Json, Path, Problem, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    State,
    domain::{Category, Locale},
    mail::preview,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PreviewParams {
    /// A language tag; the nearest that there are texts in is shown. English unless told.
    #[param(max_length = 35)]
    locale: Option<String>,
}

/// A mail as its recipient would get it, but for the data, which are made up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplatePreview {
    name: String,
    category: Category,
    locale: &'static str,
    subject: String,
    text: String,
    /// A document of its own; show it where no script runs.
    html: String,
}

/// One template, rendered with made-up data.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/templates/{id}",
    operation_id = "preview_mail_template",
    params(("id" = String, Path, description = "The template's name"), PreviewParams),
    responses(
        (status = 200, description = "The mail", body = TemplatePreview),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 404, description = "There is no such template", body = Problem),
        (status = 422, description = "A parameter is not known", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.preview_template", skip_all)]
pub(crate) async fn preview_template(
    Shared(state): Shared<State>,
    Path(name): Path<String>,
    Query(params): Query<PreviewParams>,
) -> Result<Json<TemplatePreview>, Problem> {
    let locale = Locale::nearest(params.locale.as_deref().unwrap_or("en"));
    let world = state.db.world();
    let (category, mail) = preview(&name, locale, world, &state.sealer, &state.frame)
        .ok_or_else(Problem::not_found)?
        .map_err(Problem::internal)?;
    Ok(Json(TemplatePreview {
        name,
        category,
        locale: locale.as_str(),
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
    }))
}
