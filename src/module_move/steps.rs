//! The steps in their order.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bus::place::{self, State};

use super::{
    MoveArguments, compare, copy,
    end::End,
    fence,
    plan::{self, Plan},
    preflight,
    report::{self, Steps},
    tables::{self, Table},
};
use crate::{app::App, modules, places::Places};

/// A move of one module, with both ends open.
pub(super) struct Move<'a> {
    pub app: &'a App,
    pub arguments: &'a MoveArguments,
    pub source: End,
    pub target: End,
    pub places: &'a Places,
    pub to: &'a str,
}

impl Move<'_> {
    /// From the first look to the last word.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let module = self.source.module;
        let (here, there) = (self.source.facts().await?, self.target.facts().await?);
        preflight::check(&here, &there).context(preflight::prepare_hint(self.to))?;
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
                let ends = ((&self.source, &here), (&self.target, &there));
                preflight::show(ends.0, ends.1, &tables, sequences, replaces);
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
