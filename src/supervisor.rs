//! Keeps each module running: one that cannot start or loses its background work answers 503 and is
//! tried again, while the others serve.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, Slot},
    work::{self, Roles},
};

const RESTART_PAUSE: Duration = Duration::from_secs(1);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
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
    let result = work::run(&app.bus, &mut hosted, roles, &app.world, stop.clone()).await;
    app.bus.detach(&hosted.attached);
    hosted.db.bus_pool().close().await;
    hosted.db.pool().close().await;
    result
}
