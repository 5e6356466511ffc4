//! Keeps each module running: one that cannot start or loses its background work answers 503 and is
//! tried again, while the others serve.

use std::{sync::Arc, time::Duration};

use bus::{Schema, place::State};
use kernel::Db;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, Slot},
    modules::MODULES,
    work::{self, Roles},
};

const RESTART_PAUSE: Duration = Duration::from_secs(1);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a module that runs looks whether it is to be moved.
const PLACE_POLL: Duration = Duration::from_millis(500);
/// A module that ran this long starts with a short pause again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Runs a module until the token is cancelled. Notices for people go to `notices`.
pub async fn supervise(
    app: Arc<App>,
    slot: Arc<Slot>,
    roles: Roles,
    stop: CancellationToken,
    notices: mpsc::UnboundedSender<String>,
) {
    let mut pause = RESTART_PAUSE;
    while !stop.is_cancelled() {
        let started = tokio::time::Instant::now();
        match run_once(&app, &slot, roles, &stop, &notices).await {
            Ok(()) => slot.down("stopped"),
            Err(error) if let Some(reason) = away(&error) => {
                if slot.away(&reason) {
                    tracing::warn!(module = slot.name(), "{reason}");
                }
                follow_configuration(&app, slot.name());
                pause = RESTART_PAUSE;
            }
            Err(error) => {
                let error = format!("{error:#}");
                slot.down(&error);
                tracing::error!(
                    module = slot.name(),
                    error,
                    "module is down, and will be tried again"
                );
            }
        }
        if stop.is_cancelled() {
            break;
        }
        if started.elapsed() > STABLE_AFTER {
            pause = RESTART_PAUSE;
        }
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}

/// Has the module's place changed, rather than something failed?
fn away(error: &anyhow::Error) -> Option<String> {
    let error: &database::Error = error.downcast_ref()?;
    matches!(error, database::Error::Away { .. }).then(|| error.to_string())
}

/// Takes up a new place from the configuration's file: a module that has moved comes back without a
/// restart of the others.
fn follow_configuration(app: &App, module: &'static str) {
    let place = app.config.place_now(MODULES, module);
    let moved = place.and_then(|place| app.places.relocate(module, &place.database_url));
    match moved {
        Ok(true) => tracing::info!(module, "the configuration names another database for it"),
        Ok(false) => {}
        Err(error) => tracing::debug!(
            error = format!("{error:#}"),
            "the configuration cannot be looked at again"
        ),
    }
}

async fn run_once(
    app: &App,
    slot: &Slot,
    roles: Roles,
    stop: &CancellationToken,
    notices: &mpsc::UnboundedSender<String>,
) -> anyhow::Result<()> {
    let Some(hosted) = stop.run_until_cancelled(app.host(slot, true)).await else {
        return Ok(());
    };
    let mut hosted = hosted?;
    for notice in hosted.notices.drain(..) {
        let _ = notices.send(notice);
    }
    slot.up(&hosted);
    tracing::info!(module = slot.name(), "module is up");
    let (db, streams) = (hosted.db.clone(), hosted.streams.clone());
    let stop = stop.child_token();
    let patience = Duration::from_secs(app.config.host.server.request_timeout_seconds);
    let leave = async {
        let away = away_from(&db).await;
        // In good order: no new requests, those in hand are answered, work in hand is finished.
        slot.away(&away.to_string());
        tracing::warn!(module = slot.name(), "{away}");
        streams.cancel();
        let _ = tokio::time::timeout(patience, slot.left()).await;
        stop.cancel();
        away
    };
    let work = work::run(&app.bus, &mut hosted, roles, &app.world, stop.clone());
    let result = {
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => result,
            away = leave => work.await.and(Err(away.into())),
        }
    };
    streams.cancel();
    app.bus.detach(&hosted.attached);
    hosted.db.bus_pool().close().await;
    hosted.db.pool().close().await;
    result
}

/// Waits until a move of the module has begun.
async fn away_from(db: &Db) -> database::Error {
    let module = db.module();
    let schema = Schema::new(module).expect("modules have valid names");
    loop {
        tokio::time::sleep(PLACE_POLL).await;
        let Ok(mut conn) = db.bus_pool().acquire().await else {
            continue;
        };
        // Refused when it has lost its rights meanwhile; its end and the next start tell why.
        let looked = bus::place::look(&mut conn, &schema).await;
        if let Ok(Some(place)) = looked
            && place.state != State::Here
        {
            let module = module.to_owned();
            return database::Error::Away { module, place };
        }
    }
}
