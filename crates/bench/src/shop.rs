//! Two modules on a bus: one publishes orders, the other writes a row for each.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use async_trait::async_trait;
use bus::{
    Bus, Settings,
    transport::{Nats, Network, nats},
};
use kernel::{Db, Event, Handle, HandlerError, Received, Subscription, Tx, World};
use nats_server::NatsServer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::Place;

const SECRET: &[u8] = b"a role secret for the bench, of no use elsewhere";
/// Entities that events are about.
const SUBJECTS: u64 = 1_000;
const FLOOD_WRITERS: u64 = 4;
const FLOOD_PER_TRANSACTION: u64 = 20;
/// No event is waited for longer than this without another arriving.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrderPlaced {
    pub nr: u64,
}

impl Event for OrderPlaced {
    const TYPE: &'static str = "shop.order.placed.v1";
    const SUMMARY: &'static str = "An order was placed.";
    fn subject(&self) -> String {
        (self.nr % SUBJECTS).to_string()
    }
}

#[derive(Default)]
pub struct Arrivals {
    pub committed: Mutex<Vec<Option<Instant>>>,
    pub handled: Mutex<Vec<Option<Instant>>>,
    count: AtomicU64,
    arrived: Notify,
}

impl Arrivals {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until so many events were handled, of all.
    pub async fn wait(&self, total: u64) -> anyhow::Result<()> {
        while self.count() < total {
            tokio::time::timeout(PATIENCE, self.arrived.notified()).await?;
        }
        Ok(())
    }
}

/// Writes a row for each event, and notes when that was committed.
struct Note(Arc<Arrivals>);

#[async_trait]
impl Handle<OrderPlaced> for Note {
    async fn handle(&self, tx: &mut Tx, event: Received<OrderPlaced>) -> Result<(), HandlerError> {
        sqlx::query("INSERT INTO desk.orders (nr) VALUES ($1)")
            .bind(i64::try_from(event.data.nr).expect("small"))
            .execute(&mut **tx)
            .await?;
        let arrivals = Arc::clone(&self.0);
        tx.after_commit(move || {
            let now = Instant::now();
            let mut handled = arrivals.handled.lock().expect("no holder panics");
            if let Some(slot) = handled.get_mut(usize::try_from(event.data.nr).expect("small")) {
                *slot = Some(now);
            }
            drop(handled);
            arrivals.count.fetch_add(1, Ordering::Relaxed);
            arrivals.arrived.notify_one();
        });
        Ok(())
    }
}

/// The publisher at work, and a subscriber that may be.
pub struct Shop {
    pub db: Db,
    pub arrivals: Arc<Arrivals>,
    running: Running,
    desk: Db,
    desk_bus: Arc<Bus>,
    /// Lives as long as what is connected to it.
    _broker: Option<NatsServer>,
}

/// A module at work.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(
        bus: &Arc<Bus>,
        db: &Db,
        subscriptions: Vec<Subscription>,
    ) -> anyhow::Result<Self> {
        let attached = bus.attach(db.clone(), subscriptions, vec![]).await?;
        let (bus, stop) = (Arc::clone(bus), CancellationToken::new());
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { bus.run(attached, stop).await }
        });
        Ok(Self { stop, task })
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}

impl Shop {
    /// On one bus in this process.
    pub async fn in_process(place: &Place, database: &str) -> anyhow::Result<Self> {
        let bus = Bus::new(World::system().uuid(), Settings::default(), None);
        Self::open(place, database, [Arc::clone(&bus), bus], None).await
    }

    /// On two, each with its own connection to a nats-server, as in two processes.
    pub async fn over_nats(place: &Place, database: &str) -> anyhow::Result<Self> {
        let broker = broker(place.folder.join(format!("nats-{database}")), []).await?;
        let buses = [Self::bus_on(&broker).await?, Self::bus_on(&broker).await?];
        Self::open(place, database, buses, Some(broker)).await
    }

    async fn bus_on(broker: &NatsServer) -> anyhow::Result<Arc<Bus>> {
        let settings = nats::Settings {
            urls: vec![broker.url()],
            prefix: "bench".to_owned(),
            inbox_prefix: "_INBOX".to_owned(),
            credentials: nats::Credentials::None,
            tls: nats::Tls::default(),
            keep: Duration::from_secs(24 * 3_600),
            max_bytes: None,
            replicas: 1,
        };
        let network: Arc<dyn Network> = Arc::new(Nats::connect(settings).await?);
        let instance = World::system().uuid();
        Ok(Bus::new(instance, Settings::default(), Some(network)))
    }

    async fn open(
        place: &Place,
        database: &str,
        [bus, desk_bus]: [Arc<Bus>; 2],
        broker: Option<NatsServer>,
    ) -> anyhow::Result<Self> {
        database::prepare(&place.server.admin(), database, &["shop", "desk"], SECRET).await?;
        let sign_in = |role: String| -> PgConnectOptions {
            let password = database::role_password(SECRET, &role);
            let options = place.server.database(database);
            options.username(&role).password(&password)
        };
        let nothing = sqlx::migrate::Migrator::with_migrations(Vec::new());
        for module in ["shop", "desk"] {
            database::migrate(&sign_in(database::owner_role(module)), module, &nothing).await?;
        }
        let mut owner = sign_in(database::owner_role("desk")).connect().await?;
        sqlx::query("CREATE TABLE desk.orders (nr bigint NOT NULL)")
            .execute(&mut owner)
            .await?;
        owner.close().await?;

        let db = |module: &str, bus: &Arc<Bus>| {
            let options = sign_in(database::runtime_role(module));
            let pool = |size| database::pool_options(size).connect_lazy_with(options.clone());
            let bus = Arc::clone(bus) as _;
            Db::new(module, pool(10), pool(5), bus, World::system())
        };
        let (shop, desk) = (db("shop", &bus), db("desk", &desk_bus));
        Ok(Self {
            running: Running::start(&bus, &shop, vec![]).await?,
            db: shop,
            arrivals: Arc::default(),
            desk,
            desk_bus,
            _broker: broker,
        })
    }

    /// The subscriber, taking up work where it was.
    pub async fn open_desk(&self) -> anyhow::Result<Running> {
        let note = Note(Arc::clone(&self.arrivals));
        let subscription = Subscription::new("orders", "shop").on::<OrderPlaced>(note);
        Running::start(&self.desk_bus, &self.desk, vec![subscription]).await
    }

    /// Publishes orders as fast as the database takes them, numbered from a million up. They are
    /// shared out evenly: to so many transactions that 80 divides their number.
    pub async fn flood(&self, events: u64) -> anyhow::Result<()> {
        ensure!(
            events.is_multiple_of(FLOOD_WRITERS * FLOOD_PER_TRANSACTION),
            "{events} events cannot be shared out"
        );
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..FLOOD_WRITERS {
            let shop = self.db.clone();
            writers.spawn(async move {
                let share = events / FLOOD_WRITERS;
                for batch in 0..share / FLOOD_PER_TRANSACTION {
                    let mut tx = shop.begin().await?;
                    for n in 0..FLOOD_PER_TRANSACTION {
                        let nr = 1_000_000 + writer * share + batch * FLOOD_PER_TRANSACTION + n;
                        tx.publish(&OrderPlaced { nr });
                    }
                    tx.commit().await?;
                }
                Ok::<_, sqlx::Error>(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        Ok(())
    }

    pub async fn close(self) -> anyhow::Result<()> {
        self.running.stop().await?;
        self.db.pool().close().await;
        self.desk.pool().close().await;
        Ok(())
    }
}

/// A nats-server of the bench's own.
pub async fn broker<const N: usize>(
    store: PathBuf,
    arguments: [OsString; N],
) -> anyhow::Result<NatsServer> {
    Ok(tokio::task::spawn_blocking(move || NatsServer::start(&store, arguments)).await??)
}
