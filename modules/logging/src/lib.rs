//! Log records and the audit trail.
//!
//! - **Owns** `logging.records`, what the processes of the installation log, a partition a day; and
//!   `logging.audit_entries`, every business event of every module in one chain of hashes, with its
//!   end in `logging.audit_head`; and `logging.received_batches`, by which a batch of records that is
//!   sent twice is stored once.
//! - **Publishes** nothing.
//! - **Listens** to every module's whole log, each in its order: an event becomes an audit entry.
//!   Log records are no events: each process that hosts this module stores its own, from the buffer
//!   that `tracing` fills, and those of other processes and services come over OTLP/HTTP.
//! - **Serves** `GET /api/v1/logs` with its histogram and live tail, `GET /api/v1/audit` with export and
//!   verification, and the pages `/admin/logs` and `/admin/audit`, to administrators; `POST /api/v1/logs`
//!   and `POST /otlp/v1/logs`, to services with the scope `logs:write`; on the command line, `banyan audit verify` and `banyan audit
//!   head`.

pub mod bench_support;
mod config;
mod domain;
mod http;
mod jobs;
mod lines;
mod otlp;
mod store;
mod subscribers;
mod tail;
mod verbs;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use kernel::{
    Context, Db, EventType, Job, Started, Subscription, Verb, Verifier, Worker, World,
    fragment::NavItem,
    module::{ConfigError, ConfigSection},
    routes::Api,
};
use sqlx::migrate::Migrator;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    jobs::{ManagePartitions, StoreRecords, VerifyAudit},
    subscribers::EnterInAuditTrail,
    tail::Tails,
};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/logging");

/// The module `logging`.
pub struct Module;

/// What handlers are given.
#[derive(Clone)]
struct State {
    db: Db,
    world: World,
    search_timeout: Duration,
    retention_days: i32,
    otlp_max_bytes: usize,
    /// Requests with records that are read and stored at once.
    otlp_turns: Arc<Semaphore>,
    tails: Tails,
    /// Of tokens: a live tail looks again whether its own still holds.
    verifier: Arc<Verifier>,
    shutdown: CancellationToken,
    /// Wakes who verifies the audit trail.
    verify: Arc<Notify>,
    /// The names of the modules and of the host, which no service of another may use.
    ours: Arc<[String]>,
}

#[async_trait]
impl kernel::Module for Module {
    fn name(&self) -> &'static str {
        "logging"
    }

    fn summary(&self) -> &'static str {
        "Log records of every process, and the audit trail of every business event."
    }

    fn prefixes(&self) -> &'static [&'static str] {
        &[
            "/api/v1/logs",
            "/api/v1/audit",
            "/otlp",
            "/admin/logs",
            "/admin/audit",
        ]
    }

    fn migrations(&self) -> &'static Migrator {
        &MIGRATOR
    }

    fn default_config(&self) -> &'static str {
        include_str!("../config.toml")
    }

    fn check_config(&self, section: &ConfigSection, _development: bool) -> Result<(), ConfigError> {
        Config::read(section).map(|_| ())
    }

    fn navigation(&self) -> &'static [NavItem] {
        http::pages::NAVIGATION
    }

    fn events(&self) -> Vec<EventType> {
        Vec::new()
    }

    fn api(&self) -> Api {
        http::routes().describe()
    }

    fn verbs(&self) -> Vec<Verb> {
        verbs::verbs()
    }

    async fn start(&self, context: Context) -> anyhow::Result<Started> {
        let config = Config::read(&context.config)?;
        let Context {
            db, world, logs, ..
        } = context;
        // Fails here rather than with the first record.
        let mut conn = db.pool().acquire().await?;
        store::partitions::ensure(&mut conn, config.retention_days).await?;
        drop(conn);

        let subscriptions = context
            .modules
            .iter()
            .map(|publisher| {
                let handler = EnterInAuditTrail {
                    publisher: publisher.clone(),
                    world: world.clone(),
                };
                Subscription::whole_log(&format!("audit_{publisher}"), publisher, handler)
            })
            .collect();
        let manage_partitions = Job {
            name: "manage_partitions",
            schedule: "0 */5 * * * *",
            run: Arc::new(ManagePartitions {
                db: db.clone(),
                retention_days: config.retention_days,
            }),
        };
        let store_records = Worker {
            name: "store_records",
            // Between two looks a batch gathers; a full one is followed by the next at once.
            poll: config.batch_wait(),
            wake: Arc::default(),
            run: Arc::new(StoreRecords::new(
                db.clone(),
                world.clone(),
                logs,
                config.batch_records,
                config.retention_days,
            )),
        };
        let verify = Arc::new(Notify::new());
        let verify_audit = Worker {
            name: "verify_audit",
            poll: Duration::from_secs(5),
            wake: Arc::clone(&verify),
            run: Arc::new(VerifyAudit { db: db.clone() }),
        };
        let state = State {
            db,
            tails: Tails::new(config.tails_total),
            verifier: Arc::clone(&context.verifier),
            shutdown: context.shutdown.clone(),
            verify,
            world,
            search_timeout: config.search_timeout(),
            retention_days: config.retention_days,
            otlp_max_bytes: config.otlp_max_bytes,
            otlp_turns: Arc::new(Semaphore::new(config.otlp_concurrency)),
            ours: context
                .modules
                .iter()
                .cloned()
                .chain(["banyan".to_owned()])
                .collect(),
        };
        Ok(Started {
            router: http::routes().into_router(state, context.verifier),
            subscriptions,
            jobs: vec![manage_partitions],
            workers: vec![verify_audit],
            process_workers: vec![store_records],
            ..Started::default()
        })
    }
}
