//! `GET /api/v1/notifications/suppressions`.

use axum::extract::State as Shared;
use kernel::{
    Json, PagedQuery, Problem,
    page::{Page, PageParams},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{before, key};
use crate::{
    State,
    store::{self, suppressions::Row},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListSuppressionsParams {
    /// Only of this address.
    address: Option<String>,
}

/// An address that takes no mail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuppressionView {
    id: Uuid,
    address: String,
    /// `bounce`; others may be added.
    #[schema(examples("bounce"))]
    reason: String,
    /// The mail server's words.
    detail: String,
    /// The mail that was refused.
    delivery_id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl From<Row> for SuppressionView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            address: row.address,
            reason: row.reason,
            detail: row.detail,
            delivery_id: row.delivery_id,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

/// Addresses that are spared all mail but codes and security notices, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/suppressions",
    operation_id = "list_suppressions",
    params(ListSuppressionsParams, PageParams),
    responses(
        (status = 200, description = "One page, newest first", body = Page<SuppressionView>),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.list_suppressions", skip_all)]
pub(crate) async fn list_suppressions(
    Shared(state): Shared<State>,
    PagedQuery(params, page): PagedQuery<ListSuppressionsParams>,
) -> Result<Json<Page<SuppressionView>>, Problem> {
    let (limit, before) = (page.limit()?, before(&page)?);
    let mut conn = state.db.pool().acquire().await?;
    let address = params.address.as_deref();
    let rows = store::suppressions::list(&mut conn, address, before, limit + 1).await?;
    let key = |row: &Row| key(row.created_at, row.id);
    Ok(Json(Page::from_rows(
        rows,
        limit,
        key,
        SuppressionView::from,
    )))
}
