//! A case: a fresh database, the instances on it, and what must hold in the end.

use std::{
    fmt::Debug,
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus::Settings;
use kernel::Subscription;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    cluster::{Cluster, Database},
    instance::Instance,
    probe,
    transport::Transport,
};

/// Longer than anything takes; on a machine that is busy with other work, too.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) struct Case<T> {
    pub(crate) database: Database,
    /// How often it was emptied: what a transport keeps of the lives before is none of this one's.
    lives: AtomicUsize,
    /// The superuser, for looking and for what happens to a database by itself.
    pub(crate) admin: PgPool,
    /// What subscriptions were started: a case is settled when all of them are.
    subscriptions: Mutex<Vec<(&'static str, String)>>,
    cluster: Arc<Cluster>,
    _room: Option<OwnedSemaphorePermit>,
    transport: PhantomData<fn() -> T>,
}

/// Short enough for a test to wait for, long enough not to be met by chance.
pub(crate) fn settings() -> Settings {
    Settings {
        lease_ttl: Duration::from_millis(1_000),
        poll: Duration::from_millis(50),
        gather: Duration::from_millis(5),
        backoff_base: Duration::from_millis(5),
        backoff_max: Duration::from_millis(40),
        ..Settings::default()
    }
}

impl<T: Transport> Case<T> {
    /// On a fresh database, when the server has so many connections to spare.
    pub(crate) async fn open(cluster: &Arc<Cluster>, connections: u32) -> Self {
        let room = cluster.room(connections).await;
        Self::on(cluster, cluster.database().await, Some(room))
    }

    fn on(cluster: &Arc<Cluster>, database: Database, room: Option<OwnedSemaphorePermit>) -> Self {
        let admin = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(true)
            .connect_lazy_with(database.admin());
        Self {
            database,
            lives: AtomicUsize::new(0),
            admin,
            subscriptions: Mutex::default(),
            cluster: Arc::clone(cluster),
            _room: room,
            transport: PhantomData,
        }
    }

    /// The same on another fresh database: for a case that is many.
    pub(crate) async fn another(&self) -> Self {
        Self::on(&self.cluster, self.cluster.database().await, None)
    }

    /// Makes the database as good as fresh, for less.
    pub(crate) async fn empty(&self) {
        self.lives.fetch_add(1, Ordering::SeqCst);
        self.subscriptions.lock().unwrap().clear();
        probe::empty(&self.admin).await;
    }

    /// The same for all instances, and no other case's.
    pub(crate) fn site(&self) -> String {
        let life = self.lives.load(Ordering::SeqCst);
        format!("{}_{life}", self.database.name)
    }

    pub(crate) async fn close(&self) {
        self.admin.close().await;
        self.cluster.drop_database(&self.database).await;
    }

    /// An instance that hosts the shop and the desk, whose subscriptions these are, and works.
    pub(crate) async fn run(&self, subscriptions: Vec<Subscription>) -> Instance<T> {
        self.run_with(settings(), subscriptions).await
    }

    pub(crate) async fn run_with(
        &self,
        settings: Settings,
        subscriptions: Vec<Subscription>,
    ) -> Instance<T> {
        let mut instance = self.start_with(settings, Vec::new(), subscriptions).await;
        instance.run();
        instance
    }

    /// An instance that does nothing by itself.
    pub(crate) async fn start(&self, subscriptions: Vec<Subscription>) -> Instance<T> {
        self.start_with(settings(), Vec::new(), subscriptions).await
    }

    pub(crate) async fn start_with(
        &self,
        settings: Settings,
        of_shop: Vec<Subscription>,
        of_desk: Vec<Subscription>,
    ) -> Instance<T> {
        self.start_hosting(settings, vec![("shop", of_shop), ("desk", of_desk)])
            .await
    }

    /// An instance that hosts these, and does nothing by itself.
    pub(crate) async fn start_hosting(
        &self,
        settings: Settings,
        modules: Vec<(&'static str, Vec<Subscription>)>,
    ) -> Instance<T> {
        {
            let mut known = self.subscriptions.lock().unwrap();
            for (module, subscriptions) in &modules {
                known.extend(subscriptions.iter().map(|s| (*module, s.name.clone())));
            }
            known.sort();
            known.dedup();
        }
        Instance::start(&self.database, &self.site(), settings, modules).await
    }

    /// Waits until it holds.
    pub(crate) async fn eventually<F>(&self, what: &str, mut holds: impl FnMut() -> F)
    where
        F: Future<Output = bool>,
    {
        let begun = Instant::now();
        while !holds().await {
            if begun.elapsed() > PATIENCE {
                panic!("never: {what}\n{}", probe::state(&self.admin).await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until nothing is under way: everything that was committed is handled or parked.
    pub(crate) async fn settled(&self) {
        let known = self.subscriptions.lock().unwrap().clone();
        self.eventually("settled", async || {
            probe::is_settled(&self.admin, &known).await
        })
        .await;
    }

    /// Waits until a query of a number gives this one.
    pub(crate) async fn eventually_counts(&self, expected: i64, query: &str) {
        self.eventually(&format!("{expected} from {query}"), async || {
            self.count(query).await == expected
        })
        .await;
    }

    pub(crate) async fn count(&self, query: &str) -> i64 {
        probe::count(&self.admin, query).await
    }

    pub(crate) async fn execute(&self, statement: &str) {
        probe::execute(&self.admin, statement).await;
    }

    /// The subscription's effects: subject and number, in the order in which they took place.
    pub(crate) async fn effects(&self, subscription: &str) -> Vec<(String, i64)> {
        probe::effects(&self.admin, subscription).await
    }

    /// The numbers of one subject's effects.
    pub(crate) async fn numbers(&self, subscription: &str, subject: &str) -> Vec<i64> {
        let effects = self.effects(subscription).await;
        effects
            .into_iter()
            .filter(|(s, _)| s == subject)
            .map(|(_, n)| n)
            .collect()
    }

    /// Every event of these types took effect once, in order per subject; the log is sound.
    pub(crate) async fn assert_once(&self, subscription: &str, types: &[&str]) {
        self.assert_log_is_sound().await;
        probe::assert_once(&self.admin, subscription, types).await;
    }

    pub(crate) async fn assert_log_is_sound(&self) {
        probe::assert_log_is_sound(&self.admin).await;
    }
}

/// Fails with both lists when they differ.
pub(crate) fn assert_same<V: Ord + Debug>(mut left: Vec<V>, mut right: Vec<V>) {
    left.sort();
    right.sort();
    assert_eq!(left, right);
}
