//! Is the process alive, and is every module ready?

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, json};

use crate::{app::Slot, gateway::Gateway};

/// A module whose database takes longer to say a word is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// 200 while the process can answer at all. Restart it when it does not.
pub async fn live() -> Response {
    axum::Json(json!({ "status": "live" })).into_response()
}

/// 200 when every module is ready and can verify tokens, 503 with the reasons else.
pub async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    let checks = gateway.app.slots().iter().map(|slot| check(slot));
    let results = futures::future::join_all(checks).await;
    let mut modules = Map::new();
    let mut all_ready = !gateway.is_draining() && gateway.app.verifier.has_keys();
    for (slot, trouble) in gateway.app.slots().iter().zip(results) {
        all_ready &= trouble.is_none();
        let entry = match trouble {
            None => json!({ "status": "ready" }),
            Some(reason) => json!({ "status": "down", "reason": reason }),
        };
        modules.insert(slot.name().to_owned(), entry);
    }
    let status = if gateway.is_draining() {
        "draining"
    } else if all_ready {
        "ready"
    } else {
        "not_ready"
    };
    let code = if all_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        code,
        axum::Json(json!({ "status": status, "modules": modules })),
    )
        .into_response()
}

/// What keeps a module from serving, in words that give nothing of the inside away.
async fn check(slot: &Slot) -> Option<&'static str> {
    let Some(db) = slot.db() else {
        return Some("not started");
    };
    let ping = sqlx::query("SELECT 1").execute(db.pool());
    match tokio::time::timeout(PATIENCE, ping).await {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some("database not reachable"),
        Err(_) => Some("database busy"),
    }
}
