//! Servers as a case wants them, and how its instances reach them.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{
    self,
    stream::{Info, Stream},
};
use async_trait::async_trait;
use bus::transport::{
    Nats, Network,
    nats::{Credentials, Settings, Tls},
};
use kernel::{Broadcast, Envelope};
use nats_server::NatsServer;
use tempfile::TempDir;

use crate::support::{
    buses::{Buses, Reach},
    case::Case,
    language::{Numbered, OrderPlaced, desk, orders},
};

pub(crate) type Over = Buses<Configured>;

/// As the case has said for its site.
pub(crate) struct Configured;

static SETTINGS: LazyLock<Mutex<HashMap<String, Settings>>> = LazyLock::new(Mutex::default);

#[async_trait]
impl Reach for Configured {
    const NAME: &'static str = "nats";

    async fn network(site: &str) -> Option<Arc<dyn Network>> {
        let settings = SETTINGS.lock().unwrap()[site].clone();
        let connected = Nats::connect(settings).await;
        Some(Arc::new(connected.expect("NATS takes them in")))
    }
}

/// A server with a file of configuration.
pub(crate) struct Broker {
    pub(crate) server: NatsServer,
    folder: TempDir,
}

impl Broker {
    pub(crate) fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self::serve(&folder, configuration);
        Self { server, folder }
    }

    /// Servers that elect one for each stream.
    pub(crate) fn cluster(size: usize) -> Vec<Self> {
        let ports = (0..size).map(|_| nats_server::free_port());
        let routes: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        let all: Vec<_> = routes.iter().map(|at| format!("nats://{at}")).collect();
        let start = |(n, at)| {
            Self::start(&format!(
                "server_name: server-{n}\ncluster {{ name: c, listen: \"{at}\", routes: {all:?} }}"
            ))
        };
        routes.iter().enumerate().map(start).collect()
    }

    fn serve(folder: &TempDir, configuration: &str) -> NatsServer {
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, configuration).unwrap();
        let arguments = [OsString::from("-c"), file.into()];
        NatsServer::start(&folder.path().join("store"), arguments).expect("nats-server starts")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// While it does not run: what it kept is gone.
    pub(crate) fn empty(&self) {
        std::fs::remove_dir_all(self.server.store()).unwrap();
    }
}

/// Of a server that lets everybody in.
pub(crate) fn settings(urls: Vec<String>) -> Settings {
    Settings {
        urls,
        prefix: "bus".to_owned(),
        inbox_prefix: "_INBOX".to_owned(),
        credentials: Credentials::None,
        tls: Tls::default(),
        keep: Duration::from_secs(3_600),
        max_bytes: None,
        replicas: 1,
    }
}

/// From now on, for instances that are started.
pub(crate) fn reach(case: &Case<Over>, settings: &Settings) {
    let mut all = SETTINGS.lock().unwrap();
    all.insert(case.site(), settings.clone());
}

/// The shop's counts of items, as what every process has to know.
pub(crate) fn items(heard: impl Fn(&Envelope) + Send + Sync + 'static) -> Broadcast {
    Broadcast {
        name: "items",
        publisher: "shop".to_owned(),
        types: &["shop.item.counted.v1"],
        lookback: Duration::from_secs(600),
        handler: Arc::new(heard),
    }
}

/// What a person who looks at the server sees.
pub(crate) struct Eye(jetstream::Context);

impl Eye {
    pub(crate) fn of(client: async_nats::Client) -> Self {
        Self(jetstream::new(client))
    }

    pub(crate) async fn on(settings: &Settings) -> Self {
        Self::of(async_nats::connect(&settings.urls).await.unwrap())
    }

    /// The shop's.
    pub(crate) async fn stream(&self) -> Option<Stream> {
        self.0.get_stream("bus_shop").await.ok()
    }

    pub(crate) async fn info(&self) -> Info {
        let stream = self.stream().await.expect("the stream is there");
        stream.cached_info().clone()
    }

    /// How far the stream goes in the shop's log.
    pub(crate) async fn end(&self) -> Option<i64> {
        let stream = self.stream().await?;
        let last = stream.cached_info().state.last_sequence;
        let message = stream.get_raw_message(last).await.ok()?;
        message.headers.get("Banyan-Pos")?.as_str().parse().ok()
    }
}

/// An instance's life: events reach a subscription, and by the stream. Returns the log's end.
pub(crate) async fn live(case: &Case<Over>, settings: &Settings, eye: &Eye) -> i64 {
    reach(case, settings);
    let a = case.run(vec![orders(desk("orders"))]).await;
    let numbers = AtomicI64::new(1);
    let publish = async || {
        let n = numbers.fetch_add(1, Ordering::Relaxed);
        a.publish([OrderPlaced::new(&format!("order {}", n % 5), n)])
            .await;
    };
    // Where a new stream begins is decided when it is made: what came before is in the log alone.
    case.eventually("the stream has begun", async || {
        publish().await;
        eye.end().await.is_some()
    })
    .await;
    for _ in 0..20 {
        publish().await;
    }
    case.settled().await;
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    let head = case.count("SELECT pos FROM shop.head").await;
    case.eventually("the stream has it all", async || {
        eye.end().await == Some(head)
    })
    .await;
    a.stop().await;
    head
}
