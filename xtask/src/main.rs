//! Chores of the repository that need more than a line of shell: `cargo xtask help`.

mod db;
mod migrations;
mod prepare;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Describe every checked query anew, against a fresh database, and write the result to .sqlx/
    Prepare {
        /// Write nothing; fail when .sqlx/ is not what it should be
        #[arg(long)]
        check: bool,
    },
    /// Run a migrated database to write queries against, until Ctrl-C
    Db {
        /// Bring the schemas of the running one in line with the migrations, then exit; a schema
        /// whose migrations changed is emptied
        #[arg(long, conflicts_with = "fresh")]
        refresh: bool,
        /// Drop the database of the running one, make it again, then exit
        #[arg(long)]
        fresh: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    // Said in words: where in this program it was found out helps nobody.
    match run(Arguments::parse().chore).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(chore: Chore) -> anyhow::Result<()> {
    match chore {
        Chore::Prepare { check } => prepare::run(check).await,
        Chore::Db { refresh: true, .. } => db::update(db::Update::Changed).await,
        Chore::Db { fresh: true, .. } => db::update(db::Update::Everything).await,
        Chore::Db { .. } => db::serve().await,
    }
}
