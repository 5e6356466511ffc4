//! The database that developers write queries against.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use embedded::{Options, Server};
use sqlx::{ConnectOptions, Connection};
use tokio::signal::unix::{SignalKind, signal};

use crate::migrations::{self, modules};
use crate::workspace::Workspace;

const DATABASE: &str = "banyan";

/// Two that update at once would drop what the other has just made.
const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended('cargo xtask db', 0))";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// Schemas whose migrations changed
    Changed,
    /// The whole database
    Everything,
}

/// Runs until Ctrl-C or SIGTERM; a module that cannot be migrated is told of and left out.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let server = open(&workspace).await?;
    if !server.owned() {
        apply(&workspace, &server, Update::Changed).await?;
        println!("DATABASE_URL={}", migrations::url(&server, DATABASE));
        eprintln!("it is run by another `cargo xtask db`");
        return Ok(());
    }
    let failed = apply(&workspace, &server, Update::Changed).await?;
    let url = migrations::url(&server, DATABASE);
    let file = url_file(&workspace);
    fs::write(&file, format!("{url}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("DATABASE_URL={url}");
    eprintln!(
        "also in {}; Ctrl-C ends it, `cargo xtask db --refresh` migrates it anew{}",
        file.display(),
        if failed > 0 {
            ", as is needed for the modules above"
        } else {
            ""
        }
    );

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    server.stop().await?;
    Ok(())
}

/// Updates the database of a running `cargo xtask db`.
pub(crate) async fn update(update: Update) -> anyhow::Result<()> {
    const NONE: &str = "no database is running: start one with `cargo xtask db`";
    let workspace = Workspace::find()?;
    let file = url_file(&workspace);
    ensure!(file.exists(), NONE);
    let server = open(&workspace).await?;
    if server.owned() {
        // It was killed; what was opened just now would end with this process.
        server.stop().await?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        bail!(NONE);
    }
    let failed = apply(&workspace, &server, update).await?;
    println!("DATABASE_URL={}", migrations::url(&server, DATABASE));
    server.stop().await?;
    if failed > 0 {
        bail!("{failed} of the modules could not be migrated");
    }
    Ok(())
}

async fn open(workspace: &Workspace) -> anyhow::Result<Server> {
    Ok(Server::open(Options {
        data_dir: workspace.target.join("dev-database"),
        fsync: false,
        bin_dir: None,
    })
    .await?)
}

async fn apply(workspace: &Workspace, server: &Server, update: Update) -> anyhow::Result<usize> {
    let modules = modules(&workspace.root)?;
    let mut holder = server.admin().connect().await?;
    migrations::run(&mut holder, LOCK).await?;
    let failed = match update {
        Update::Changed => migrations::update(server, DATABASE, &modules).await?,
        Update::Everything => migrations::rebuild(server, DATABASE, &modules).await?,
    };
    // Closing releases the lock.
    holder.close().await?;
    Ok(failed)
}

fn url_file(workspace: &Workspace) -> PathBuf {
    workspace.target.join("dev-database-url")
}
