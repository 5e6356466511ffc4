//! An instance: as good as a process. It has a runtime with one thread, pools and a transport of
//! its own; when it is killed they go as they stand.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use bus::failpoint::{Hold, Point, Trap, arm};
use kernel::{Db, EventBus, Subscription, Tx, World};
use sqlx::postgres::PgPoolOptions;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{cluster::Database, language::Numbered, transport::Transport};

pub(crate) struct Instance<T> {
    id: Uuid,
    process: Option<Process<T>>,
    running: Option<JoinHandle<Result<(), anyhow::Error>>>,
    stop: CancellationToken,
    frozen: Arc<Freezer>,
}

/// What goes with a process.
struct Process<T> {
    runtime: Runtime,
    transport: Arc<T>,
    dbs: HashMap<&'static str, Db>,
}

#[derive(Default)]
struct Freezer {
    frozen: Mutex<bool>,
    thawed: Condvar,
}

impl<T: Transport> Instance<T> {
    /// Starts a process that hosts these modules, and works for nothing yet.
    pub(crate) async fn start(
        database: &Database,
        site: &str,
        settings: bus::Settings,
        modules: Vec<(&'static str, Vec<Subscription>)>,
    ) -> Self {
        let started = Self::try_start(database, site, settings, modules).await;
        started.expect("a module is attached")
    }

    /// The same, where a module may be refused.
    pub(crate) async fn try_start(
        database: &Database,
        site: &str,
        settings: bus::Settings,
        modules: Vec<(&'static str, Vec<Subscription>)>,
    ) -> Result<Self, anyhow::Error> {
        let world = World::system();
        let id = world.uuid();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let (database, site) = (database.clone(), site.to_owned());
        let opened = runtime.spawn(async move {
            let transport = T::open(&site, id, settings).await;
            let mut dbs = HashMap::new();
            for (module, subscriptions) in modules {
                let pool = |size| {
                    PgPoolOptions::new()
                        .max_connections(size)
                        .acquire_timeout(Duration::from_secs(30))
                        .test_before_acquire(false)
                        .connect_lazy_with(database.runtime(module))
                };
                let bus = transport.bus();
                // As few for the bus as will do: the server has 200 for all cases.
                let db = Db::new(module, pool(24), pool(4), bus, world.clone());
                transport.attach(db.clone(), subscriptions).await?;
                dbs.insert(module, db);
            }
            Ok((transport, dbs))
        });
        let (transport, dbs) = match opened.await.expect("an instance starts") {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Self {
            id,
            process: Some(Process {
                runtime,
                transport,
                dbs,
            }),
            running: None,
            stop: CancellationToken::new(),
            frozen: Arc::default(),
        })
    }

    fn process(&self) -> &Process<T> {
        self.process.as_ref().expect("the instance was not killed")
    }

    /// Works in the background from now on.
    pub(crate) fn run(&mut self) {
        let process = self.process();
        let (transport, stop) = (Arc::clone(&process.transport), self.stop.clone());
        self.running = Some(process.runtime.spawn(transport.run(stop)));
    }

    /// Runs something in the process.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.process().runtime.spawn(future)
    }

    /// Runs something in the process, and waits for it.
    pub(crate) async fn call<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.spawn(future)
            .await
            .expect("what runs in an instance does not panic")
    }

    pub(crate) fn db(&self, module: &str) -> Db {
        self.process().dbs[module].clone()
    }

    pub(crate) fn bus(&self) -> Arc<dyn EventBus> {
        self.process().transport.bus()
    }

    pub(crate) fn transport(&self) -> Arc<T> {
        Arc::clone(&self.process().transport)
    }

    /// One transaction of the shop's.
    pub(crate) async fn transact(&self, publish: impl FnOnce(&mut Tx) + Send + 'static) {
        let db = self.db("shop");
        let committed = self.call(async move {
            let mut tx = db.begin().await?;
            publish(&mut tx);
            tx.commit().await
        });
        committed.await.expect("the shop commits");
    }

    /// Publishes in one transaction of the shop's.
    pub(crate) async fn publish<E: Numbered>(&self, events: impl IntoIterator<Item = E>) {
        let events: Vec<E> = events.into_iter().collect();
        self.transact(move |tx| {
            for event in &events {
                tx.publish(event);
            }
        })
        .await;
    }

    pub(crate) async fn deliver_pending(&self) {
        let transport = self.transport();
        self.call(async move { transport.deliver_pending().await })
            .await
            .expect("what is pending is delivered");
    }

    /// Stops it the next time that it reaches the point.
    pub(crate) fn trap(&self, point: Point, hold: Hold) -> Trap {
        arm(self.id, point, hold)
    }

    /// Ends in good order: work in hand is finished, leases are released.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running
                .await
                .expect("an instance does not panic")
                .expect("an instance ends well");
        }
        self.kill().await;
    }

    /// As SIGKILL: nothing more is done, connections break.
    pub(crate) async fn kill(mut self) {
        self.thaw();
        let Process {
            runtime,
            transport,
            dbs,
        } = self.process.take().expect("killed once");
        tokio::task::spawn_blocking(move || {
            runtime.shutdown_timeout(Duration::from_secs(10));
            drop((transport, dbs));
        })
        .await
        .expect("an instance is killed");
    }

    /// As SIGSTOP: returns when nothing moves any more.
    pub(crate) async fn freeze(&self) {
        *self.frozen.frozen.lock().unwrap() = true;
        let (stands, standing) = oneshot::channel();
        let freezer = Arc::clone(&self.frozen);
        self.spawn(async move {
            let mut frozen = freezer.frozen.lock().unwrap();
            let _ = stands.send(());
            while *frozen {
                frozen = freezer.thawed.wait(frozen).unwrap();
            }
        });
        standing.await.expect("the instance stands still");
    }

    /// As SIGCONT.
    pub(crate) fn thaw(&self) {
        *self.frozen.frozen.lock().unwrap() = false;
        self.frozen.thawed.notify_all();
    }
}

impl<T> Drop for Instance<T> {
    fn drop(&mut self) {
        *self.frozen.frozen.lock().unwrap() = false;
        self.frozen.thawed.notify_all();
        // A case that failed: a runtime must not be waited for here.
        if let Some(process) = self.process.take() {
            process.runtime.shutdown_background();
        }
    }
}
