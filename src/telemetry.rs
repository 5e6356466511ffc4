//! Where log records go: the terminal, and the buffer from which the logging module stores them.

use std::{io::IsTerminal, sync::Arc};

use kernel::telemetry::{Flush, LogBuffer, LogLayer, Terminal};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::Log;

/// Starts logging to stderr, and into the buffer, for the rest of the process's life. What is returned
/// writes the last lines when it is dropped.
pub fn start(config: &Log, buffer: &Arc<LogBuffer>) -> anyhow::Result<Flush> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let (terminal, flush) = Terminal::start(config.format)?;
    tracing_subscriber::registry()
        .with(filter)
        .with(LogLayer::new(Arc::clone(buffer), Some(terminal)))
        .try_init()?;
    Ok(flush)
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
