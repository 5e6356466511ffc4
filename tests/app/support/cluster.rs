//! One throw-away PostgreSQL for the test binary, and a fresh database for each test.

use std::{
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use banyan::modules::MODULES;
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

use super::is_split;

pub const ROLE_SECRET: &str = "role secret of the tests, of no use elsewhere";
const TEMPLATE: &str = "banyan_template";

struct Cluster {
    admin: PgConnectOptions,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Starts the server on a thread that lives as long as the process: tests' runtimes do not.
fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        let (ready, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
                    .join(format!("app-{}", std::process::id()));
                let options = embedded::Options {
                    data_dir: folder,
                    fsync: false,
                    bin_dir: None,
                };
                let server = embedded::Server::open(options)
                    .await
                    .expect("PostgreSQL starts");
                make_template(&server).await;
                ready
                    .send(Cluster {
                        admin: server.admin(),
                    })
                    .expect("the test waits");
                std::future::pending::<()>().await;
                drop(server);
            });
        });
        wait.recv().expect("the cluster starts")
    })
}

async fn make_template(server: &embedded::Server) {
    let names: Vec<_> = MODULES.iter().map(|m| m.name()).collect();
    let secret = ROLE_SECRET.as_bytes();
    database::prepare(&server.admin(), TEMPLATE, &names, secret)
        .await
        .expect("prepared");
    for module in MODULES {
        let role = database::owner_role(module.name());
        let owner = server
            .database(TEMPLATE)
            .username(&role)
            .password(&database::role_password(secret, &role));
        database::migrate(&owner, module.name(), module.migrations())
            .await
            .expect("migrated");
    }
}

/// Where a test's modules have their tables.
#[derive(Clone)]
pub struct Databases {
    /// No other test's.
    pub name: String,
    /// In the order of the modules: one for all, or one each.
    all: Vec<PgConnectOptions>,
}

impl Databases {
    pub async fn fresh() -> Self {
        Self::some(if is_split() { MODULES.len() } else { 1 }).await
    }

    /// One for each module.
    pub async fn apart() -> Self {
        Self::some(MODULES.len()).await
    }

    async fn some(count: usize) -> Self {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut all = Vec::new();
        for module in MODULES.iter().take(count) {
            all.push(fresh_database(&format!("{name}_{}", module.name())).await);
        }
        Self { name, all }
    }

    /// As configuration names it.
    pub fn url_of(&self, module: &str) -> String {
        let options = self.of(module);
        let socket = options.get_socket().expect("a unix socket");
        let database = options.get_database().expect("a database");
        format!(
            "postgres://localhost:{}/{database}?host={}",
            options.get_port(),
            socket.display()
        )
    }

    /// As the superuser, the one where a module's schema is in use.
    pub fn of(&self, module: &str) -> PgConnectOptions {
        let index = MODULES.iter().position(|m| m.name() == module);
        let index = index.unwrap_or_else(|| panic!("there is no module {module}"));
        self.all[index.min(self.all.len() - 1)].clone()
    }
}

/// A database of one's own, migrated. Options sign in as the superuser.
async fn fresh_database(name: &str) -> PgConnectOptions {
    let admin = tokio::task::spawn_blocking(|| cluster().admin.clone())
        .await
        .expect("cluster");
    let mut conn = admin.connect().await.expect("the cluster answers");
    // Two copies at once would find the template in use.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
    sqlx::query(sqlx::AssertSqlSafe(create))
        .execute(&mut conn)
        .await
        .expect("created");
    conn.close().await.expect("closed");
    admin.database(name)
}
