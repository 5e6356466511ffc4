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
mod report;
mod tables;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bus::place::{self, State};
use clap::Args;
use kernel::Secret;

use crate::{app::App, cli, modules, places::Places};
use end::{End, Facts};
use plan::Plan;
use report::Steps;
use tables::Table;

pub use list::list;

/// The oldest PostgreSQL that Banyan runs on, as the server numbers it.
const OLDEST_SERVER: i32 = 150_000;
/// Clocks that differ more let leases and mails come early or late.
const CLOCKS_APART_SECONDS: f64 = 5.0;

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

/// Moves a module, ends an earlier move, or gives it up.
///
/// # Errors
/// When something stands in the way: then the module serves from where it did, unless the message
/// says otherwise.
pub async fn run(app: &App, arguments: &MoveArguments) -> anyhow::Result<()> {
    let name = &*arguments.module;
    let module = modules::named(name).with_context(|| format!("there is no module {name:?}"))?;
    let module = module.name();
    cli::must_host(&app.config, module)?;
    let source = End::open(&app.places, module).await?;
    if arguments.abort {
        return abort(source).await;
    }
    let to = match arguments.to.as_deref().unwrap_or_default() {
        "default" => "",
        url => url,
    };
    needs_kept_secrets(app, to)?;
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
        Err(error) => Err(error.context(prepare_hint(to))),
    };
    places.close().await?;
    moved
}

/// What an embedded database's folder kept must be said by configuration, once there is another.
fn needs_kept_secrets(app: &App, to: &str) -> anyhow::Result<()> {
    let host = &app.config.host;
    let given = [&host.database.role_secret, &host.secrets.master_key];
    if to.is_empty() || given.iter().all(|secret| !secret.expose().is_empty()) {
        return Ok(());
    }
    let folder = std::path::absolute(host.server.data_dir.join("secrets"))?;
    let folder = folder.display();
    bail!(
        "a module with a database of its own needs these in the configuration, with the values that \
         the embedded database was made with:\n\n    [database]\n    role_secret_file = \
         \"{folder}/role_secret\"\n\n    [secrets]\n    master_key_file = \"{folder}/master_key\""
    )
}

fn prepare_hint(to: &str) -> String {
    let database = to.rsplit('@').next().unwrap_or_default();
    let database = database.strip_prefix("postgres://").unwrap_or(database);
    format!(
        "the target is not ready; if its roles are missing, prepare it with this configuration: banyan \
         database prepare --admin-url 'postgres://ADMINISTRATOR@{database}'"
    )
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

struct Move<'a> {
    app: &'a App,
    arguments: &'a MoveArguments,
    source: End,
    target: End,
    places: &'a Places,
    to: &'a str,
}

impl Move<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        let module = self.source.module;
        let (here, there) = (self.source.facts().await?, self.target.facts().await?);
        check(&here, &there).context(prepare_hint(self.to))?;
        let id = |place: Option<place::Place>| place.map(|place| place.id);
        let (source, target) = (self.source.place().await?, self.target.place().await?);
        ensure!(
            source.is_none() || id(source) != id(target),
            "{module} is in that database already"
        );
        self.source.lock().await?;
        self.target.lock().await?;
        let plan = self.plan().await?;
        match plan {
            Plan::Done => println!("{module} has been moved already"),
            Plan::Finish => {
                self.confirm("The target has everything, and is to begin.")?;
                self.open_target().await?;
                println!("{module} serves from {}", self.target.name);
            }
            Plan::Move { replaces } => {
                let tables = tables::tables(&mut self.source).await?;
                let sequences = tables::sequences(&mut self.source).await?.len();
                self.show(&here, &there, &tables, sequences, replaces);
                self.confirm("The module will be down meanwhile; the others go on.")?;
                self.all().await?;
            }
        }
        report::print_configuration(module, self.to, self.places);
        println!(
            "\nThe old data stay in {}, shut. When you are sure: DROP SCHEMA {module} CASCADE, there.",
            self.source.name
        );
        Ok(())
    }

    async fn plan(&mut self) -> anyhow::Result<Plan> {
        let (source, target) = (self.source.place().await?, self.target.place().await?);
        let used = match &target {
            Some(place) if place.state == State::Here => self.target.is_used().await?,
            _ => false,
        };
        plan::plan(self.source.module, source.as_ref(), target.as_ref(), used)
    }

    fn show(
        &self,
        here: &Facts,
        there: &Facts,
        tables: &[Table],
        sequences: usize,
        replaces: bool,
    ) {
        let rows: i64 = tables.iter().map(|table| table.rows).sum();
        eprintln!("Move {}", self.source.module);
        eprintln!("  from {} (PostgreSQL {})", self.source.name, here.version);
        eprintln!("  to   {} (PostgreSQL {})", self.target.name, there.version);
        eprintln!(
            "  {} tables, {sequences} sequences, about {} rows; {} on disk, which the target needs as well",
            tables.len(),
            report::number(rows.unsigned_abs()),
            report::bytes(here.bytes.unsigned_abs()),
        );
        if there.version_number / 10_000 < here.version_number / 10_000 {
            eprintln!("  NOTE: the target's PostgreSQL is older");
        }
        let apart = (here.clock - there.clock).abs();
        if apart > CLOCKS_APART_SECONDS {
            eprintln!("  NOTE: the servers' clocks are {apart:.0} s apart: mend that first");
        }
        if replaces {
            eprintln!(
                "  NOTE: an old copy of the module's data is at the target, and will be REPLACED"
            );
        }
    }

    fn confirm(&self, what: &str) -> anyhow::Result<()> {
        if self.arguments.yes {
            return Ok(());
        }
        eprint!("{what} Write \"yes\" to go on: ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        ensure!(
            answer.trim() == "yes",
            "not confirmed, so nothing was changed (--yes does not ask)"
        );
        Ok(())
    }

    /// Every step.
    async fn all(&mut self) -> anyhow::Result<()> {
        let mut steps = Steps::default();
        let started = Instant::now();
        self.ready_target().await?;
        steps.took("prepare the target", started.elapsed());

        let down = Instant::now();
        let interrupted = tokio::signal::ctrl_c();
        let copied = tokio::select! {
            copied = self.copy(&mut steps) => copied,
            _ = interrupted => Err(anyhow::anyhow!("interrupted")),
        };
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) => return Err(self.give_up(error).await),
        };
        let started = Instant::now();
        self.stand_down().await?;
        self.open_target().await?;
        steps.took("switch", started.elapsed());
        let downtime = down.elapsed();

        let started = Instant::now();
        for table in &copied {
            self.target.run(format!("ANALYZE {}", table.table)).await?;
        }
        steps.took("analyse the target", started.elapsed());
        report::print(&copied, &steps, downtime);
        Ok(())
    }

    /// While the source serves: the target gets the tables of this program, without rows.
    async fn ready_target(&mut self) -> anyhow::Result<()> {
        let module = self.source.module;
        let here = tables::migrations(&mut self.source).await?;
        copy::claim(&mut self.target, &mut self.source).await?;
        let migrations = modules::named(module).expect("it was found").migrations();
        database::migrate_copy(&self.target.owner, module, migrations).await?;
        ensure!(
            here == tables::migrations(&mut self.target).await?,
            "the schema of {module} was made by other migrations than this program has: use the \
             program of the processes that serve, once they have migrated"
        );
        ensure!(self.target.is_fenced().await?, "the target is not shut");
        Ok(())
    }

    /// Stops the module, and fills the target. Leaves a transaction open at the source that holds all
    /// its tables as they are.
    async fn copy(&mut self, steps: &mut Steps) -> anyhow::Result<Vec<copy::Copied>> {
        let Self { source, target, .. } = self;
        let started = Instant::now();
        fence::announce(source, target).await?;
        let grace = Duration::from_secs(self.arguments.grace_seconds);
        if !fence::wait_for_processes(source, grace).await? {
            eprintln!(
                "  some processes have not stopped the module by themselves; they are shut out"
            );
        }
        source.fence().await?;
        steps.took("stop the module", started.elapsed());

        let started = Instant::now();
        let patience = Duration::from_secs(self.arguments.drain_seconds);
        // Not those of the look before: the log may have got a partition since.
        let tables = tables::tables(source).await?;
        fence::wait_for_transactions(source, &tables, patience).await?;
        let events = fence::sequence_all(source, &self.app.world).await?;
        if events > 0 {
            eprintln!("  {events} events moved from the outbox into the log");
        }
        steps.took("drain", started.elapsed());

        let started = Instant::now();
        fence::lock_all(source, &tables).await?;
        let names = |tables: &[Table]| tables.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
        ensure!(
            names(&tables::tables(source).await?) == names(&tables),
            "a partition was made a moment ago: try again"
        );
        target.run("BEGIN".to_owned()).await?;
        let copied = copy::copy_all(source, target, &tables).await?;
        steps.took("copy", started.elapsed());

        let started = Instant::now();
        compare::compare(source, target, &tables).await?;
        target.run("COMMIT".to_owned()).await?;
        steps.took("compare", started.elapsed());
        Ok(copied)
    }

    /// The source has served for the last time. Ends the transaction that has held its tables.
    async fn stand_down(&mut self) -> anyhow::Result<()> {
        let schema = &self.source.schema;
        let statements =
            format!("UPDATE {schema}.place SET state = 'moved', since = clock_timestamp(); COMMIT");
        let stood_down = self.source.run(statements).await;
        stood_down.context(
            "the source did not say whether it has stood down; give the same command again",
        )
    }

    async fn open_target(&mut self) -> anyhow::Result<()> {
        let opened = self.target.unfence().await;
        opened.context(
            "everything is at the target, which could not be opened; give the same command again",
        )
    }

    /// After a failure: the source serves again, as it was.
    async fn give_up(&mut self, error: anyhow::Error) -> anyhow::Error {
        let released = async {
            // The connection may have been left in the middle of a stream.
            let mut source = End::open(&self.app.places, self.source.module).await?;
            source.unfence().await?;
            anyhow::Ok(source.name)
        };
        // A lock on the source's tables may still be held; opening takes none of them.
        match released.await {
            Ok(name) => error.context(format!(
                "nothing was moved; {} serves from {name} again",
                self.source.module
            )),
            Err(second) => error.context(format!(
                "nothing was moved, and the source could not be opened again ({second:#}): give \
                 `banyan module move {} --abort`",
                self.source.module
            )),
        }
    }
}

/// What has to be right before anything is changed.
fn check(source: &Facts, target: &Facts) -> anyhow::Result<()> {
    ensure!(
        target.is_prepared,
        "the target has no such schema, or it belongs to another role"
    );
    ensure!(
        target.version_number >= OLDEST_SERVER,
        "the target is PostgreSQL {}: 15 is the oldest that will do",
        target.version
    );
    ensure!(
        source.encoding == target.encoding,
        "the target's encoding is {}, the source's {}",
        target.encoding,
        source.encoding
    );
    Ok(())
}
