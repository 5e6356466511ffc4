//! `GET /api/v1/notifications/templates`.

use axum::extract::State as Shared;
use kernel::{Json, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    State,
    domain::{Category, Locale},
    mail::templates,
};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateView {
    #[schema(examples("welcome"))]
    name: String,
    category: Category,
    /// The languages that there are texts in.
    #[schema(examples(json!(["en", "de"])))]
    locales: Vec<&'static str>,
}

/// The templates of mails.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/templates",
    operation_id = "list_mail_templates",
    responses(
        (status = 200, description = "All of them", body = Vec<TemplateView>),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.list_templates", skip_all)]
pub(crate) async fn list_templates(Shared(state): Shared<State>) -> Json<Vec<TemplateView>> {
    let all = templates(state.db.world(), &state.sealer);
    let views = all.into_iter().map(|(name, category)| TemplateView {
        name,
        category,
        locales: Locale::ALL.map(Locale::as_str).to_vec(),
    });
    Json(views.collect())
}
