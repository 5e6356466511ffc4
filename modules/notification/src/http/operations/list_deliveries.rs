//! `GET /api/v1/notifications/deliveries`.

use axum::extract::State as Shared;
use kernel::{
    Json, PagedQuery, Problem, UserId,
    page::{Page, PageParams},
};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;

use super::{DeliverySummary, before, key};
use crate::{State, store};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDeliveriesParams {
    /// Such as `failed`.
    status: Option<String>,
    user_id: Option<UserId>,
    /// Such as `welcome`.
    template: Option<String>,
    /// Made at or after (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Made before (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
}

/// Messages and what became of them, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/deliveries",
    operation_id = "list_deliveries",
    params(ListDeliveriesParams, PageParams),
    responses(
        (status = 200, description = "One page, newest first", body = Page<DeliverySummary>),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.list_deliveries", skip_all)]
pub(crate) async fn list_deliveries(
    Shared(state): Shared<State>,
    PagedQuery(params, page): PagedQuery<ListDeliveriesParams>,
) -> Result<Json<Page<DeliverySummary>>, Problem> {
    let (limit, before) = (page.limit()?, before(&page)?);
    let filter = store::operations::Filter {
        status: params.status.as_deref(),
        user_id: params.user_id,
        address: None,
        template: params.template.as_deref(),
        from: params.from,
        to: params.to,
    };
    let mut conn = state.db.pool().acquire().await?;
    let rows = store::operations::list(&mut conn, &filter, before, limit + 1).await?;
    let key = |row: &store::operations::Row| key(row.created_at, row.id);
    Ok(Json(Page::from_rows(
        rows,
        limit,
        key,
        DeliverySummary::from,
    )))
}
