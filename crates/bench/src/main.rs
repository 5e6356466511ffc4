//! `make bench`: how fast Banyan is, against the limit of what it stands on.
//!
//! Machines differ and are shared, so a figure alone says little. Each is taken by turns with its
//! limit (the bare hash, the bare COPY, the bare handler) in the same run, and told as their ratio.

mod backlog;
mod edge;
mod events;
mod http;
mod logins;
mod logs;
mod nginx;
mod process;
mod profile;
mod program;
mod shop;
mod sign_up;
mod split;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use embedded::{Options, Server};
use table::Table;

/// What can be measured by itself: `bench events logins`.
const PARTS: [&str; 8] = [
    "events", "logs", "edge", "process", "profiles", "logins", "sign-ups", "backlog",
];
/// Takes minutes: only when it is named.
const LONG: &str = "backlog";
const NEED_THE_PROGRAM: [&str; 4] = ["process", "profiles", "logins", "sign-ups"];

/// Where the measured program and its limit find the same PostgreSQL.
pub struct Place {
    pub server: Server,
    pub folder: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "bare-profile").is_some() {
        return profile::bare_server(arguments).await;
    }
    let chosen: Vec<String> = arguments.collect();
    if chosen.iter().any(|c| c == "--help" || c == "-h") {
        println!("bench [PART]...\n\n  {}", PARTS.join(", "));
        println!("\nAll but {LONG}, which takes minutes, unless some are named.");
        return Ok(());
    }
    if let Some(unknown) = chosen.iter().find(|c| !PARTS.contains(&c.as_str())) {
        anyhow::bail!("no part {unknown}; there are {}", PARTS.join(", "));
    }
    let folder = std::env::temp_dir().join(format!("banyan-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let options = Options {
        data_dir: folder.join("postgres"),
        fsync: true,
        bin_dir: None,
    };
    let server = Server::open(options)
        .await
        .context("PostgreSQL for the bench")?;
    let place = Place {
        server,
        folder: folder.clone(),
    };

    let mut table = Table::default();
    let result = measure(&place, &chosen, &mut table).await;
    table.print();
    place.server.stop().await?;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn measure(place: &Place, chosen: &[String], table: &mut Table) -> anyhow::Result<()> {
    let wanted = |part: &str| match chosen {
        [] => part != LONG,
        chosen => chosen.iter().any(|c| c == part),
    };
    if wanted("events") {
        eprintln!("events …");
        events::measure(place, table).await?;
    }
    if wanted("logs") {
        eprintln!("log records …");
        logs::measure(place, table).await?;
    }
    if wanted(LONG) {
        eprintln!("a backlog, some minutes …");
        backlog::measure(place, table).await?;
    }
    if wanted("edge") {
        eprintln!("edge …");
        edge::measure(place, table).await?;
    }
    if !NEED_THE_PROGRAM.into_iter().any(wanted) {
        return Ok(());
    }
    eprintln!("start, memory …");
    let banyan = process::measure(place, table).await?;
    if wanted("profiles") {
        eprintln!("profiles …");
        profile::measure(place, &banyan, table).await?;
    }
    if wanted("logins") {
        eprintln!("logins …");
        logins::measure(&banyan, table).await?;
    }
    if wanted("sign-ups") {
        eprintln!("sign-ups …");
        sign_up::measure(place, &banyan, table).await?;
    }
    banyan.stop().await
}
