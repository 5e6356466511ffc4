//! A throw-away PostgreSQL for the run, and a fresh database for each case.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use database::{migrate, owner_role, prepare, role_password, runtime_role};
use embedded::{Options, Server};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgConnectOptions,
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::language::{MODULES, migrations};

const SECRET: &[u8] = b"the secret of this suite";
const TEMPLATE: &str = "conformance";

/// The server, started by whoever needs it first.
pub(crate) struct Cluster {
    server: OnceCell<Server>,
    databases: AtomicUsize,
    connections: Arc<Semaphore>,
}

/// A case's own database.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    admin: PgConnectOptions,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            server: OnceCell::new(),
            databases: AtomicUsize::new(0),
            // Of 200; some end a little later than their case.
            connections: Arc::new(Semaphore::new(185)),
        }
    }
}

impl Cluster {
    /// Cases that would take more connections than there are wait for each other here: each of
    /// them would otherwise hold some and wait for more.
    pub(crate) async fn room(&self, connections: u32) -> OwnedSemaphorePermit {
        let room = Arc::clone(&self.connections).acquire_many_owned(connections);
        room.await.expect("nobody closes it")
    }

    async fn server(&self) -> &Server {
        let start = async || {
            let data_dir = data_dir();
            let _ = std::fs::remove_dir_all(&data_dir);
            let server = open(&data_dir).await;
            make_template(&server.admin()).await;
            server
        };
        self.server.get_or_init(start).await
    }

    pub(crate) async fn database(&self) -> Database {
        let server = self.server().await;
        let nr = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("case_{nr}");
        execute(
            &server.admin(),
            &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"),
        )
        .await;
        Database {
            admin: server.database(&name),
            name,
            data_dir: data_dir(),
        }
    }

    pub(crate) async fn drop_database(&self, database: &Database) {
        let server = self.server().await;
        execute(
            &server.admin(),
            &format!("DROP DATABASE {} WITH (FORCE)", database.name),
        )
        .await;
    }

    pub(crate) async fn stop(self) {
        if let Some(server) = self.server.into_inner() {
            let place = server.place().to_owned();
            server.stop().await.expect("the server stops");
            for dir in [place, data_dir()] {
                let _ = std::fs::remove_dir_all(dir);
            }
        }
    }
}

impl Database {
    /// The database of another process of this run.
    pub(crate) async fn reopen(data_dir: &Path, name: &str) -> (Server, Self) {
        let server = open(data_dir).await;
        let database = Self {
            name: name.to_owned(),
            data_dir: data_dir.to_owned(),
            admin: server.database(name),
        };
        (server, database)
    }

    /// Signs in as the superuser.
    pub(crate) fn admin(&self) -> PgConnectOptions {
        self.admin.clone()
    }

    /// Signs in as a module's runtime role.
    pub(crate) fn runtime(&self, module: &str) -> PgConnectOptions {
        let role = runtime_role(module);
        self.admin
            .clone()
            .username(&role)
            .password(&role_password(SECRET, &role))
    }
}

fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{}", std::process::id()))
}

async fn open(data_dir: &Path) -> Server {
    let options = Options {
        data_dir: data_dir.to_owned(),
        fsync: false,
        bin_dir: None,
    };
    Server::open(options)
        .await
        .expect("an embedded PostgreSQL starts")
}

async fn make_template(admin: &PgConnectOptions) {
    prepare(admin, TEMPLATE, &MODULES, SECRET)
        .await
        .expect("roles and schemas are made");
    for module in MODULES {
        let role = owner_role(module);
        let owner = admin
            .clone()
            .database(TEMPLATE)
            .username(&role)
            .password(&role_password(SECRET, &role));
        let text = AssertSqlSafe(migrations(module)).into_sql_str();
        let migration = Migration::new(
            1,
            "tables of the suite".into(),
            MigrationType::Simple,
            text,
            false,
        );
        migrate(&owner, module, &Migrator::with_migrations(vec![migration]))
            .await
            .expect("the schema is migrated");
    }
}

pub(crate) async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options)
        .await
        .expect("the server answers")
}

async fn execute(options: &PgConnectOptions, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connect(options).await)
        .await
        .expect(statement);
}
