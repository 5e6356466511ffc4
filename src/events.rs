//! `banyan events`: looking after the bus from the command line.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use bus::{Schema, parked::Lane, replay};
use clap::Subcommand;
use contracts::bus::{EventSkipped, SubjectRetried};
use kernel::RequestContext;
use tokio_util::sync::CancellationToken;

use crate::{app::App, cli, modules, modules::MODULES};

#[derive(Debug, Subcommand)]
pub enum EventsVerb {
    /// Lists the events that modules publish.
    Catalogue,
    #[command(flatten)]
    Live(LiveVerb),
}

/// What looks at an installation, or acts on it.
#[derive(Debug, Subcommand)]
pub enum LiveVerb {
    /// How old the oldest waiting event is, per stage.
    Lag,
    /// Lists what could not be handled.
    Parked {
        /// By this module alone.
        #[arg(long)]
        module: Option<String>,
    },
    /// Tries a parked subject again, from its first event.
    Retry(LaneArguments),
    /// Passes over the first event of a parked subject; those behind it are tried.
    Skip(LaneArguments),
    /// Empties a module's read models and feeds it the log again.
    Replay {
        /// The one that reads.
        #[arg(long)]
        module: String,
    },
    /// Has a module publish the present state of everything it owns.
    Restate {
        /// The one that publishes.
        #[arg(long)]
        module: String,
    },
}

impl LiveVerb {
    /// The one that it is about, if it is about one.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::Lag => None,
            Self::Parked { module } => module.as_deref(),
            Self::Retry(lane) | Self::Skip(lane) => Some(&lane.module),
            Self::Replay { module } | Self::Restate { module } => Some(module),
        }
    }
}

/// As `banyan events parked` prints it.
#[derive(Debug, clap::Args)]
pub struct LaneArguments {
    /// The module that could not handle it.
    #[arg(long)]
    module: String,
    /// Its subscription.
    #[arg(long)]
    subscription: String,
    /// What the event is about, such as identity.user.
    #[arg(long)]
    topic: String,
    /// The subject, or the event's id when it has no order.
    #[arg(long)]
    subject: String,
}

pub async fn run(app: &Arc<App>, verb: LiveVerb) -> anyhow::Result<()> {
    operator(app).scope(perform(app, verb)).await
}

/// The context of a command: a trace of its own, and who gave it, as far as the machine knows.
pub fn operator(app: &App) -> RequestContext {
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    let actor = Some(format!("operator:{user}"));
    RequestContext {
        actor,
        ..RequestContext::root(&app.world)
    }
}

async fn perform(app: &Arc<App>, verb: LiveVerb) -> anyhow::Result<()> {
    match verb {
        LiveVerb::Lag => lag(app).await,
        LiveVerb::Parked { module } => parked(app, module.as_deref()).await,
        LiveVerb::Retry(lane) => {
            let (schema, db, key) = lane.open(app)?;
            let mut tx = db.begin().await?;
            if !bus::parked::retry(&mut tx, &schema, &lane.subscription, &key).await? {
                bail!("nothing is parked under that name: see `banyan events parked`");
            }
            tx.publish(&SubjectRetried {
                module: lane.module.clone(),
                subscription: lane.subscription.clone(),
                topic: key.topic,
                subject: key.lane,
            });
            tx.commit().await?;
            println!("it will be tried again at once by the running process, or at the next start");
            Ok(())
        }
        LiveVerb::Skip(lane) => {
            let (schema, db, key) = lane.open(app)?;
            let mut tx = db.begin().await?;
            let skipped = bus::parked::skip(&mut tx, &schema, &lane.subscription, &key).await?;
            let event =
                skipped.context("nothing is parked under that name: see `banyan events parked`")?;
            tx.publish(&EventSkipped {
                event_id: event.id.0,
                event_type: event.event_type.clone(),
                module: lane.module.clone(),
                subscription: lane.subscription.clone(),
            });
            tx.commit().await?;
            println!("skipped {} ({})", event.id, event.event_type);
            Ok(())
        }
        LiveVerb::Replay { module } => replay(app, &module).await,
        LiveVerb::Restate { module } => restate(app, &module).await,
    }
}

impl LaneArguments {
    fn open(&self, app: &App) -> anyhow::Result<(Schema, kernel::Db, Lane)> {
        let module = named(app, &self.module)?;
        let lane = Lane {
            topic: self.topic.clone(),
            lane: self.subject.clone(),
        };
        Ok((Schema::new(module.name())?, app.context(module).db, lane))
    }
}

fn named(app: &App, name: &str) -> anyhow::Result<&'static dyn kernel::Module> {
    let module = modules::named(name)?;
    cli::must_host(&app.config, name)?;
    Ok(module)
}

/// Every event that a module publishes: known without a database or a configuration.
pub fn catalogue() {
    let of_modules = MODULES.iter().flat_map(|module| module.events());
    for event in of_modules.chain(contracts::bus::events()) {
        println!("{}\n    {}", event.name, event.summary);
    }
}

async fn lag(app: &App) -> anyhow::Result<()> {
    for slot in app.slots() {
        app.host(slot, false).await?;
    }
    println!(
        "{:<14} {:<28} {:>12} {:>8}",
        "module", "stage", "oldest", "parked"
    );
    let mut lags = app.bus.lag().await?;
    lags.sort_by(|a, b| (&a.module, &a.stage).cmp(&(&b.module, &b.stage)));
    for lag in &lags {
        let oldest = match lag.oldest_seconds {
            Some(seconds) => format!("{seconds:.1} s"),
            None => "-".to_owned(),
        };
        println!(
            "{:<14} {:<28} {oldest:>12} {:>8}",
            lag.module, lag.stage, lag.parked
        );
    }
    for lag in lags.iter().filter(|lag| lag.beyond > 0) {
        eprintln!(
            "{} of {} stands {} events beyond the end of its publisher's log, and hears nothing: was \
             the publisher's database restored from a backup?",
            lag.stage, lag.module, lag.beyond
        );
    }
    Ok(())
}

async fn parked(app: &App, only: Option<&str>) -> anyhow::Result<()> {
    let mut any = false;
    if let Some(only) = only {
        named(app, only)?;
    }
    let slots = app.slots().iter().map(|slot| slot.module);
    for module in slots.filter(|m| only.is_none_or(|only| only == m.name())) {
        app.migrate(module).await?;
        let db = app.context(module).db;
        let lanes = bus::parked::list(db.pool(), &Schema::new(module.name())?, 1_000).await?;
        // What only waits for another event has not failed.
        for lane in lanes
            .into_iter()
            .filter(|lane| lane.attempts > 0 || lane.status == "parked")
        {
            any = true;
            println!(
                "{} --module {} --subscription {} --topic {} --subject {}\n    {} since {}, \
                 {} tries, {} waiting behind it: {}",
                lane.event_type,
                module.name(),
                lane.subscription,
                lane.topic,
                lane.lane,
                lane.status,
                lane.parked_at,
                lane.attempts,
                lane.waiting,
                lane.error.as_deref().unwrap_or("-"),
            );
        }
    }
    if !any {
        println!("nothing is parked");
    }
    Ok(())
}

/// The replay itself is done by whoever holds the subscriptions' leases: a running process, or this
/// one.
async fn replay(app: &Arc<App>, module: &str) -> anyhow::Result<()> {
    let module = named(app, module)?;
    let mut own = None;
    for slot in app.slots() {
        let hosted = app.host(slot, false).await?;
        if slot.name() == module.name() {
            own = Some(hosted);
        }
    }
    let hosted = own.expect("every module has a slot");
    let schema = Schema::new(module.name())?;
    let subscriptions: Vec<_> = hosted
        .attached
        .subscribers()
        .iter()
        .map(|s| s.subscription())
        .collect();
    let mut tx = hosted.db.begin().await?;
    let replayed = replay::begin(&mut tx, &schema, &subscriptions).await?;
    tx.commit().await?;
    if replayed.is_empty() {
        println!("{} has no read models to rebuild", module.name());
        return Ok(());
    }
    let stop = CancellationToken::new();
    let running = {
        let (bus, attached, stop) = (
            Arc::clone(&app.bus),
            Arc::clone(&hosted.attached),
            stop.clone(),
        );
        tokio::spawn(async move { bus.run(attached, stop).await })
    };
    let mut conn = hosted.db.pool().acquire().await?;
    loop {
        let remaining = replay::remaining(&mut conn, &schema).await?;
        eprintln!("{remaining} positions to go");
        if remaining == 0 && replay::is_over(&mut conn, &schema).await? {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stop.cancel();
    running.await??;
    println!("replayed {}", replayed.join(", "));
    Ok(())
}

async fn restate(app: &Arc<App>, module: &str) -> anyhow::Result<()> {
    let module = named(app, module)?;
    let slot = app.slot(module.name()).expect("every module has a slot");
    let hosted = app.host(slot, false).await?;
    let Some(restate) = hosted.restate else {
        println!("{} owns nothing that others need told again", module.name());
        return Ok(());
    };
    let (mut cursor, mut pages) = (None, 0);
    loop {
        cursor = restate.restate(cursor).await?;
        pages += 1;
        eprintln!("{pages} pages published");
        if cursor.is_none() {
            break;
        }
    }
    println!(
        "{} published the present state of everything it owns",
        module.name()
    );
    Ok(())
}
