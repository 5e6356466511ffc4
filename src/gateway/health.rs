//! Is the process alive, and is every module ready?

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kernel::{Problem, extract::Query};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    app::Slot,
    gateway::{Gateway, outside::Outside},
};

/// A module whose database takes longer to say a word is not ready.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a look at the databases counts.
const FRESH: Duration = Duration::from_millis(500);

/// 200 while the process can answer at all. Restart it when it does not.
pub async fn live() -> Response {
    axum::Json(json!({ "status": "live" })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// One module of this process, and of no other matter than how that one is.
    module: Option<String>,
}

/// 200 when every module of this process (or the one that is asked for) is ready and it can verify
/// tokens, 503 with the reasons else.
///
/// What other processes do is told, and no more: they must not take this one with them. Nor must a
/// module that is being moved to another database: the others serve. Only until the others were asked
/// for the first time, nobody should be sent here.
pub async fn ready(State(gateway): State<Arc<Gateway>>, Query(asked): Query<Asked>) -> Response {
    let asked = asked.module.as_deref();
    if asked.is_some_and(|module| gateway.app.slot(module).is_none()) {
        return not_here().into_response();
    }
    let (code, body) = readiness(&gateway, asked).await;
    (code, axum::Json(body)).into_response()
}

/// How every module is, or one of this process.
pub async fn readiness(gateway: &Gateway, asked: Option<&str>) -> (StatusCode, Value) {
    let results = gateway.checks.latest(gateway.app.slots()).await;
    let mut modules = Map::new();
    let verifies = gateway.app.verifier.is_ready();
    let mut all_ready = !gateway.is_draining() && verifies;
    let mut all_up = true;
    for (slot, trouble) in gateway.app.slots().iter().zip(results) {
        if asked.is_some_and(|module| module != slot.name()) {
            continue;
        }
        all_ready &= trouble.is_none() || slot.is_away();
        all_up &= !slot.is_away();
        let entry = match trouble {
            Some(_) if slot.is_away() => json!({ "status": "moving" }),
            None => json!({ "status": "ready" }),
            Some(reason) => json!({ "status": "down", "reason": reason }),
        };
        modules.insert(slot.name().to_owned(), entry);
    }
    let mut services = Map::new();
    if asked.is_none() {
        for upstream in gateway.homes.remote() {
            let state = upstream.state();
            all_ready &= state.known;
            all_up &= state.is_up();
            modules.insert(upstream.name().to_owned(), remote(&state));
        }
        services.extend(gateway.outside.iter().map(service));
    }
    let status = if gateway.is_draining() {
        "draining"
    } else if !all_ready {
        "not_ready"
    } else if all_up {
        "ready"
    } else {
        "degraded"
    };
    let code = if all_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut body = json!({ "status": status, "modules": modules, "services": services });
    if !verifies {
        body["tokens"] = json!({
            "status": "not verified yet",
            "reason": "the events of identity, its keys among them, cannot be read",
        });
    }
    (code, body)
}

/// Said to a gateway whose configuration is wrong: its requests would be as well.
fn not_here() -> Problem {
    let title = "This process does not host that module";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", title)
}

/// A module in another process.
fn remote(state: &upstream::State) -> Value {
    match (state.known, state.is_up()) {
        (false, _) => json!({ "status": "unknown", "reason": "not asked yet" }),
        (true, true) => json!({ "status": "ready" }),
        (true, false) => json!({ "status": "down", "reason": "no address of it is ready" }),
    }
}

/// A service of a configured route, in words that give nothing of the inside away.
fn service(route: &Outside) -> (String, Value) {
    let addresses = route.upstream.state().addresses;
    let up = addresses.iter().filter(|address| address.up).count();
    let status = match up {
        0 => "down",
        up if up < addresses.len() => "degraded",
        _ => "up",
    };
    (route.name().to_owned(), json!({ "status": status }))
}

/// What each module's database answered: nothing is wrong, or this is.
type Pings = Vec<Option<&'static str>>;

/// The last look at the modules' databases. Anybody may ask for readiness, and as often as they
/// like: it must not take connections from those who have work to do.
#[derive(Default)]
pub(super) struct Checks {
    last: Mutex<Option<(Instant, Pings)>>,
}

impl Checks {
    async fn latest(&self, slots: &[Arc<Slot>]) -> Pings {
        // One look at a time; who waits takes its result.
        let mut last = self.last.lock().await;
        let pings = match &*last {
            Some((at, pings)) if at.elapsed() < FRESH => pings.clone(),
            _ => {
                let pings = slots.iter().map(|slot| ping(slot));
                let pings = futures::future::join_all(pings).await;
                *last = Some((Instant::now(), pings.clone()));
                pings
            }
        };
        drop(last);
        let stopped = |slot: &Arc<Slot>| slot.db().is_none().then_some("not started");
        slots
            .iter()
            .zip(pings)
            .map(|(slot, ping)| stopped(slot).or(ping))
            .collect()
    }
}

/// What keeps a module's database from answering, in words that give nothing of the inside away.
async fn ping(slot: &Slot) -> Option<&'static str> {
    let db = slot.db()?;
    // Not among the requests: a flood of them must not make the module look down.
    let ping = sqlx::query("SELECT 1").execute(db.bus_pool());
    match tokio::time::timeout(PATIENCE, ping).await {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some("database not reachable"),
        Err(_) => Some("database busy"),
    }
}
