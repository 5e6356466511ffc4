//! Where log records go: the terminal, and the buffer from which the logging module stores them.

use std::{io::IsTerminal, sync::Arc};

use kernel::telemetry::{LogBuffer, LogLayer};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Starts logging to stderr, and into the buffer, for the rest of the process's life.
pub fn start(config: &Log, buffer: &Arc<LogBuffer>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let terminal = match config.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            // It is the last of the list, which costs as much again to write.
            .with_current_span(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Pretty => tracing_subscriber::fmt::layer()
            .compact()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(terminal)
        .with(LogLayer(Arc::clone(buffer)))
        .try_init()?;
    Ok(())
}

/// For short commands: warnings to stderr, nothing stored.
pub fn start_quiet() {
    let filter = EnvFilter::new("warn,embedded::postgres=off,sqlx=error");
    let terminal = tracing_subscriber::fmt::layer()
        .compact()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(terminal)
        .try_init();
}
