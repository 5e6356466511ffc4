//! `make bench`: how fast Banyan is, against the limit of what it stands on.
//!
//! Machines differ and are shared, so a figure alone says little. Each is taken by turns with its
//! limit (the bare hash, the bare COPY, the bare handler) in the same run, and told as their ratio.

mod events;
mod http;
mod logins;
mod logs;
mod process;
mod profile;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use embedded::{Options, Server};
use table::Table;

/// What can be measured by itself: `bench events logins`.
const PARTS: [&str; 5] = ["events", "logs", "process", "profiles", "logins"];
const NEED_THE_PROGRAM: [&str; 3] = ["process", "profiles", "logins"];

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
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|c| c == part);
    if wanted("events") {
        eprintln!("events …");
        events::measure(place, table).await?;
    }
    if wanted("logs") {
        eprintln!("log records …");
        logs::measure(place, table).await?;
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
    banyan.stop().await
}
