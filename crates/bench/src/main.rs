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

/// Where the measured program and its limit find the same PostgreSQL.
pub struct Place {
    pub server: Server,
    pub folder: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("bare-profile") {
        return profile::bare_server(arguments).await;
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
    let result = measure(&place, &mut table).await;
    table.print();
    place.server.stop().await?;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    eprintln!("events …");
    events::measure(place, table).await?;
    eprintln!("log records …");
    logs::measure(place, table).await?;
    eprintln!("start, memory …");
    let banyan = process::measure(place, table).await?;
    eprintln!("profiles …");
    profile::measure(place, &banyan, table).await?;
    eprintln!("logins …");
    logins::measure(&banyan, table).await?;
    banyan.stop().await
}
