//! `banyan module move`: a module with its data, from one PostgreSQL database to another.
//!
//! The module alone is down meanwhile. At any moment at most one of the two schemas may serve, and
//! each database enforces its part: [`bus::place`] and [`fence`]. The steps, and what a kill leaves
//! after each:
//!
//! 1. [`copy::claim`] and migrations: the target is shut, marked `arriving` and built anew. The source
//!    serves.
//! 2. [`fence`]: the source is `moving` and shut. Nobody serves; the same command goes on, `--abort`
//!    opens the source.
//! 3. [`copy`] and [`compare`], in one transaction at the target. As before.
//! 4. The source is `moved`, in the transaction that locked its tables. From here there is no way but
//!    forward: the same command ends the move.
//! 5. The target is `here`, and open.
//!
//! An error in steps 2 and 3 opens the source again by itself.
//!
//! A move without downtime would put PostgreSQL's logical replication (15 and later) in the place of
//! step 3: a publication `FOR TABLES IN SCHEMA` at the source and a subscription at the target, made
//! after step 1 while the source serves, and waited for; sequences, which it does not carry, are set
//! after the fence as they are here; the fence then takes as long as the last few changes. It needs
//! `wal_level = logical` at the source, a role with REPLICATION, and partitions made at both ends
//! while it runs. Plan, fence, comparison and the states stay what they are.

mod compare;
mod copy;
mod end;
mod fence;
mod list;
mod plan;
mod preflight;
mod report;
mod steps;
mod tables;

use anyhow::{Context, bail};
use bus::place::State;
use clap::Args;
use kernel::Secret;

use crate::{app::App, cli, modules};
use end::End;
use steps::Move;

pub use list::list;

#[derive(Debug, Args)]
pub struct MoveArguments {
    /// The module.
    module: String,
    /// postgres://host:port/database of its new place; "default" for the database of [database].
    #[arg(long, value_name = "URL", required_unless_present = "abort")]
    to: Option<String>,
    /// Gives an unfinished move up: the module serves from where it was.
    #[arg(long, conflicts_with = "to")]
    abort: bool,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    /// Seconds for processes to stop the module by themselves, before they are shut out.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    grace_seconds: u64,
    /// Seconds for open transactions to end after that.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    drain_seconds: u64,
}

impl MoveArguments {
    pub fn module(&self) -> &str {
        &self.module
    }
}

/// Moves a module, ends an earlier move, or gives it up.
///
/// # Errors
/// When something stands in the way: then the module serves from where it did, unless the message
/// says otherwise.
pub async fn run(app: &App, arguments: &MoveArguments) -> anyhow::Result<()> {
    let name = &*arguments.module;
    let module = modules::named(name)?.name();
    cli::must_host(&app.config, module)?;
    let source = End::open(&app.places, module).await?;
    if arguments.abort {
        return abort(source).await;
    }
    let to = match arguments.to.as_deref().unwrap_or_default() {
        "default" => "",
        url => url,
    };
    preflight::is_a_place(to)?;
    preflight::needs_kept_secrets(app, to)?;
    let url = Secret::new(to);
    let places = app.places.beside(&app.config, module, url).await?;
    let moved = match End::open(&places, module).await {
        Ok(target) => {
            let ends = Move {
                app,
                arguments,
                source,
                target,
                places: &places,
                to,
            };
            ends.run().await
        }
        Err(error) => Err(error.context(preflight::prepare_hint(to))),
    };
    places.close().await?;
    moved
}

/// `--abort`.
async fn abort(mut source: End) -> anyhow::Result<()> {
    source.lock().await?;
    let module = source.module;
    let place = source.place().await?;
    let place = place.with_context(|| format!("{module} has no tables yet"))?;
    match place.state {
        State::Here if source.is_fenced().await? => {}
        State::Here => {
            println!("{module} is not being moved; nothing was changed");
            return Ok(());
        }
        State::Moving => {}
        State::Moved | State::Arriving => bail!(
            "{}; too late to give it up from here. `banyan module move` with the same --to ends it",
            place.reason(module)
        ),
    }
    source.unfence().await?;
    println!("{module} serves from {} again", source.name);
    Ok(())
}
