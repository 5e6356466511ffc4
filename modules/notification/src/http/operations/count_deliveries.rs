//! `GET /api/v1/notifications/deliveries/counts`.

use std::collections::BTreeMap;

use axum::extract::State as Shared;
use kernel::{FieldError, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::{IntoParams, ToSchema};

use crate::{State, store};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CountDeliveriesParams {
    /// How far back what has ended is counted; 24 unless told.
    #[param(minimum = 1, maximum = 720)]
    hours: Option<u16>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryCounts {
    hours: u16,
    /// By status; those without any are left out.
    #[schema(value_type = std::collections::HashMap<String, i64>)]
    counts: BTreeMap<String, i64>,
}

/// How many deliveries there are by status: of those under way all, of the others the recent.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/deliveries/counts",
    operation_id = "count_deliveries",
    params(CountDeliveriesParams),
    responses(
        (status = 200, description = "The counts", body = DeliveryCounts),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is no administrator", body = Problem),
        (status = 422, description = "A parameter is not valid", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.count_deliveries", skip_all)]
pub(crate) async fn count_deliveries(
    Shared(state): Shared<State>,
    Query(params): Query<CountDeliveriesParams>,
) -> Result<Json<DeliveryCounts>, Problem> {
    let hours = params.hours.unwrap_or(24);
    if !(1..=720).contains(&hours) {
        let error = FieldError::new("hours", "must be 1 to 720");
        return Err(Problem::validation(vec![error]));
    }
    let since = state.db.world().now() - Duration::hours(hours.into());
    let mut conn = state.db.pool().acquire().await?;
    let counts = store::operations::counts(&mut conn, since).await?;
    Ok(Json(DeliveryCounts {
        hours,
        counts: counts.into_iter().collect(),
    }))
}
