//! A backlog stays in the log: draining it takes no more memory than following it.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bus::Settings;
use futures::FutureExt;
use kernel::{HandlerError, Received, Subscription, Tx, bus::Handle};

use crate::{
    broker,
    case::Case,
    cluster::Database,
    instance::Instance,
    language::{self, Numbered, OrderPlaced},
    transport::Transport,
};

const EVENTS: i64 = 100_000;
const SUBJECTS: i64 = 1_000;
const PADDING_BYTES: usize = 300;
const MAX_GROWTH_BYTES: u64 = 50 << 20;

const TRANSPORT: &str = "CONFORMANCE_BACKLOG_TRANSPORT";
const DATA_DIR: &str = "CONFORMANCE_BACKLOG_DATA_DIR";
const DATABASE: &str = "CONFORMANCE_BACKLOG_DATABASE";
const SITE: &str = "CONFORMANCE_BACKLOG_SITE";

pub(crate) async fn a_long_backlog_takes_no_more_memory_than_a_short_one<T: Transport>(
    case: &Case<T>,
) {
    let shop: Instance<T> = case.start(Vec::new()).await;
    for first in (1..=EVENTS).step_by(2_000) {
        let events = first..first + 2_000;
        shop.publish(
            events
                .map(|n| OrderPlaced::padded(&format!("order {}", n % SUBJECTS), n, PADDING_BYTES)),
        )
        .await;
    }
    shop.stop().await;
    // In a process of its own: the memory of this one is everybody's.
    let drained = tokio::process::Command::new(std::env::current_exe().unwrap())
        .env(TRANSPORT, T::NAME)
        .env(DATA_DIR, &case.database.data_dir)
        .env(DATABASE, &case.database.name)
        .env(SITE, case.site())
        .envs(broker::environment())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(
        drained.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&drained.stdout),
        String::from_utf8_lossy(&drained.stderr)
    );
    case.assert_log_is_sound().await;
}

/// What the process of its own does.
pub(crate) struct Task {
    pub(crate) transport: String,
    data_dir: PathBuf,
    database: String,
    site: String,
}

#[derive(Clone, Default)]
struct Counter(Arc<AtomicI64>);

#[async_trait]
impl Handle<OrderPlaced> for Counter {
    async fn handle(&self, _: &mut Tx, _: Received<OrderPlaced>) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Task {
    pub(crate) fn from_environment() -> Option<Self> {
        Some(Self {
            transport: std::env::var(TRANSPORT).ok()?,
            data_dir: std::env::var_os(DATA_DIR)?.into(),
            database: std::env::var(DATABASE).ok()?,
            site: std::env::var(SITE).ok()?,
        })
    }

    pub(crate) async fn run<T: Transport>(self) {
        let (server, database) = Database::reopen(&self.data_dir, &self.database).await;
        let (each, whole) = (Counter::default(), Counter::default());
        let subscriptions = vec![
            Subscription::new("each", "shop").on::<OrderPlaced>(each.clone()),
            language::whole("whole", {
                let whole = whole.clone();
                move |_, events| {
                    whole
                        .0
                        .fetch_add(i64::try_from(events.len()).unwrap(), Ordering::SeqCst);
                    async { Ok(()) }.boxed()
                }
            }),
        ];
        let modules = vec![("shop", Vec::new()), ("desk", subscriptions)];
        let mut instance: Instance<T> =
            Instance::start(&database, &self.site, Settings::default(), modules).await;
        instance.run();
        let (mut short, mut most) = (None, 0);
        let begun = std::time::Instant::now();
        loop {
            let done = each
                .0
                .load(Ordering::SeqCst)
                .min(whole.0.load(Ordering::SeqCst));
            if done >= EVENTS / 20 {
                most = most.max(resident_bytes());
                short.get_or_insert(most);
            }
            if done >= EVENTS {
                break;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(300),
                "{done} of {EVENTS} in time"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        instance.stop().await;
        server.stop().await.unwrap();
        let short = short.expect("it was measured");
        println!(
            "{} MiB after a twentieth, {} MiB at most",
            short >> 20,
            most >> 20
        );
        assert!(
            most < short + MAX_GROWTH_BYTES,
            "from {short} to {most} bytes"
        );
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}
