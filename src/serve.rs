//! `banyan serve`: modules, the edge in front of them, and an orderly end.

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::Context;
use kernel::{World, telemetry::LogBuffer};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    config::{At, Config},
    gateway::{Gateway, server, tls::Tls},
    keys,
    modules::MODULES,
    operations::Operations,
    shipping::{self, Shipper},
    supervisor, telemetry,
    work::Roles,
};

/// How long the greeting waits for modules that do not come up.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or Ctrl-C.
pub async fn serve(config: Config, roles: Roles) -> anyhow::Result<()> {
    let buffered = if config.stores_logs() {
        config.host.log.buffer_records
    } else {
        0
    };
    let logs = Arc::new(LogBuffer::new(buffered));
    let _flush = telemetry::start(&config.host.log, &logs)?;
    let listen = config.host.server.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("server.listen: cannot listen on {listen}"))?;
    let operations_listener = match config.host.server.operations_listen {
        None => None,
        Some(listen) => Some(
            TcpListener::bind(listen)
                .await
                .with_context(|| format!("server.operations_listen: cannot listen on {listen}"))?,
        ),
    };
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let tls = Tls::of(&config.host.server)?;
    let stop = stop_signal()?;

    let app = Arc::new(App::open(config, World::system(), logs).await?);
    let gateway = Gateway::new(Arc::clone(&app), roles)?;
    let background = CancellationToken::new();
    let (notices, notices_in) = mpsc::unbounded_channel();
    let mut modules = JoinSet::new();
    for slot in app.slots() {
        modules.spawn(supervisor::supervise(
            Arc::clone(&app),
            Arc::clone(slot),
            roles,
            background.clone(),
            notices.clone(),
        ));
    }
    {
        let (app, background) = (Arc::clone(&app), background.clone());
        modules.spawn(async move {
            let follow = async {
                keys::follow(&app).await;
                app.bus.run_broadcasts(background.clone()).await;
            };
            background.run_until_cancelled(follow).await;
        });
    }
    {
        let (verifier, background) = (Arc::clone(&app.verifier), background.clone());
        modules.spawn(async move {
            background
                .run_until_cancelled(verifier.follow_key_source())
                .await;
        });
    }
    // Ends after everything else, which may have something to log.
    let last = CancellationToken::new();
    let shipper = shipping::of(&app)?;
    let shipped = shipper.as_ref().map(Shipper::counters);
    let shipping = shipper.map(|shipper| tokio::spawn(shipper.run(last.clone())));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr()?);
    let operations_url = match &operations_listener {
        Some(listener) => Some(format!("http://{}", listener.local_addr()?)),
        None => None,
    };
    tokio::spawn(greet(Arc::clone(&app), url, operations_url, notices_in));

    let refuse = CancellationToken::new();
    let server_config = app.config.host.server.clone();
    let serving = {
        let (gateway, refuse) = (Arc::clone(&gateway), refuse.clone());
        let config = server_config.clone();
        tokio::spawn(async move { server::serve(listener, gateway, &config, tls, refuse).await })
    };
    // Answers to the end: others may wait for this one's answers while it drains.
    let operations_end = CancellationToken::new();
    let operating = operations_listener.map(|listener| {
        let operations = Operations::new(Arc::clone(&gateway), shipped);
        tokio::spawn(operations.serve(listener, operations_end.clone()))
    });

    stop.cancelled().await;
    tracing::info!("stopping: requests in flight are answered first");
    gateway.drain();
    tokio::time::sleep(Duration::from_secs(server_config.drain_seconds)).await;
    // Streams have no end of their own; clients come back to another instance.
    app.streams.cancel();
    refuse.cancel();
    serving.await.context("the server")?;
    operations_end.cancel();
    if let Some(operating) = operating {
        operating.await.context("the server of operations")?;
    }
    background.cancel();
    while modules.join_next().await.is_some() {}
    last.cancel();
    if let Some(shipping) = shipping {
        shipping.await.context("shipping of log records")?;
    }
    drop(gateway);
    match Arc::try_unwrap(app) {
        Ok(app) => app.places.close().await?,
        // A connection that would not end holds it; the embedded server stops with the process.
        Err(_) => tracing::debug!("the application is still in use at the end"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Tells the person at the terminal where everything is, once it is there.
async fn greet(
    app: Arc<App>,
    url: String,
    operations_url: Option<String>,
    mut notices: mpsc::UnboundedReceiver<String>,
) {
    let mut said = Vec::new();
    // Modules say what they have to say while they start; one that cannot is not waited for long.
    let started = async {
        app.verifier.ready().await;
        while app.slots().iter().any(|slot| !slot.is_up()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(GREETING_PATIENCE, started) => {}
        () = app.streams.cancelled() => return,
    }
    while let Ok(notice) = notices.try_recv() {
        said.push(notice);
    }
    let mut lines = vec![
        format!("Banyan is ready at {url}{}", hosting(&app)),
        format!("  API            {url}/api/openapi.json"),
        format!("  health         {url}/health/ready"),
    ];
    lines.extend(operations_url.map(|url| format!("  metrics        {url}/metrics")));
    let mailbox = &app.config.place("notification").at;
    if app.config.development() && !matches!(mailbox, At::Elsewhere) {
        lines.push(format!("  mailbox        {url}/dev/mailbox"));
    }
    for slot in app.slots() {
        lines.extend(
            slot.trouble()
                .map(|why| format!("  {} is down: {why}", slot.name())),
        );
    }
    lines.extend(app.places.notice().map(|notice| format!("  {notice}")));
    lines.extend(said.into_iter().map(|notice| format!("  {notice}")));
    let _ = writeln!(std::io::stdout(), "\n{}\n", lines.join("\n"));
    drop(app);
    while let Some(notice) = notices.recv().await {
        let _ = writeln!(std::io::stdout(), "  {notice}");
    }
}

/// What this process is, where it is not all there is.
fn hosting(app: &App) -> String {
    let names: Vec<_> = app.slots().iter().map(|slot| slot.name()).collect();
    match names.len() {
        0 => ": a gateway".to_owned(),
        n if n == MODULES.len() => String::new(),
        _ => format!(", with {}", names.join(", ")),
    }
}

/// Cancelled by the first SIGTERM or SIGINT; the second one ends the process at once.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        stop.cancel();
        next().await;
        std::process::exit(130);
    });
    Ok(token)
}
