//! One process of the application under test.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use banyan::{
    app::{App, Hosted},
    config::{Config, Sources, Transport},
    gateway::{Gateway, server, tls::Tls},
    modules::MODULES,
    operations::Operations,
    places::Places,
    secrets::Keys,
    work::Roles,
};
use bus::transport::{Nats, Network};
use kernel::{Secret, SeededRandom, TestClock, World, secret::Key, telemetry::LogBuffer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cluster::{self, Databases};

static SEED: AtomicU64 = AtomicU64::new(1);

/// What modules that exchange secrets have in common.
const SEALING_KEY: [u8; 32] = [2; 32];

pub struct Host {
    pub app: Arc<App>,
    pub hosted: Vec<Hosted>,
    pub gateway: Arc<Gateway>,
    pub url: String,
    pub operations_url: String,
}

impl Host {
    /// Starts the modules, and serves; what works in the background waits for the test.
    pub async fn start(
        modules: &[&str],
        databases: &Databases,
        variables: &[(&str, &str)],
        file: Option<&Path>,
        clock: &Arc<TestClock>,
        stop: &CancellationToken,
    ) -> Self {
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        let world = World {
            clock: Arc::clone(clock) as _,
            random: Arc::new(SeededRandom::new(seed)),
        };
        let config = config(modules, variables, file, seed);
        // Its own, and the same at its next start.
        let own = MODULES.iter().position(|m| modules.contains(&m.name()));
        let own = u8::try_from(own.unwrap_or(MODULES.len())).expect("few modules") + 10;
        let keys = Keys {
            master: Key::new([own; 32]),
            sealing: Key::new(SEALING_KEY),
            role_secret: Secret::new(cluster::ROLE_SECRET),
        };
        let network: Option<Arc<dyn Network>> = match config.host.bus.transport {
            Transport::InProcess => None,
            Transport::Nats => {
                let connected = Nats::connect(config.host.bus.nats.settings()).await;
                Some(Arc::new(connected.expect("NATS answers")))
            }
        };
        let logs = Arc::new(LogBuffer::new(10_000));
        let database = databases.of(modules.first().unwrap_or(&MODULES[0].name()));
        let places = Places::at(database, Secret::new(cluster::ROLE_SECRET));
        let settings = bus::Settings::default();
        let app = App::assemble(config, world, logs, keys, places, settings, network);
        let app = Arc::new(app);
        let mut hosted = Vec::new();
        for slot in app.slots() {
            let module = app.host(slot, true).await;
            let module = module.unwrap_or_else(|e| panic!("{} starts: {e:#}", slot.name()));
            slot.up(&module);
            hosted.push(module);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let gateway = Gateway::new(Arc::clone(&app), Roles::All).expect("an edge");
        let config = app.config.host.server.clone();
        let operating = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let operations_url = format!("http://{}", operating.local_addr().expect("bound"));
        let operations = Operations::new(Arc::clone(&gateway), None);
        tokio::spawn(operations.serve(operating, stop.clone()));
        tokio::spawn({
            let (gateway, stop) = (Arc::clone(&gateway), stop.clone());
            let tls = Tls::of(&config).expect("a certificate");
            async move { server::serve(listener, gateway, &config, tls, stop).await }
        });
        Self {
            app,
            hosted,
            gateway,
            url,
            operations_url,
        }
    }
}

fn config(modules: &[&str], variables: &[(&str, &str)], file: Option<&Path>, seed: u64) -> Config {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("data-{}-{seed}", std::process::id()));
    let given: BTreeMap<String, String> = [
        ("BANYAN__IDENTITY__HASH_MEMORY_KIB", "8192"),
        ("BANYAN__IDENTITY__HASH_PASSES", "1"),
        ("BANYAN__DATABASE__POOL_SIZE", "4"),
        ("BANYAN__DATABASE__BUS_POOL_SIZE", "4"),
        ("BANYAN__SERVER__DATA_DIR", &*folder.to_string_lossy()),
        (
            "BANYAN__SECRETS__SEALING_KEY",
            "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
        ),
    ]
    .into_iter()
    .chain(variables.iter().copied())
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    let hosted = match modules {
        [] => vec!["none".to_owned()],
        names => names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let sources = Sources {
        environment: Some("development".to_owned()),
        file: file.map(Path::to_owned),
        modules: Some(hosted),
        variables: given,
        ..Sources::default()
    };
    Config::load(MODULES, &sources).expect("the test's configuration is good")
}
