//! A PostgreSQL server of one's own, run as a supervised child process.
//!
//! For development, trials and small single-node installs: a real server on a private cluster,
//! reached over a unix socket only, started without root rights, stopped with the process that
//! opened it and recovered after any kind of death of either side.
//!
//! The folder given as [`Options::data_dir`] belongs to this crate alone:
//!
//! ```text
//! host.lock   held (flock) by the process that owns the server; names that process and its server
//! password    the superuser's password, 0600
//! cluster/    the server's own data folder
//! socket/     the unix socket, unless its path would be too long for one
//! origin      only where another place was taken: the folder that was asked for
//! ```
//!
//! One process owns the cluster. Others that open the same folder attach to its server; when the
//! owner goes away, one of them takes over. All of it happens on a thread of its own, which is
//! also what the kernel ties the server's life to (`PR_SET_PDEATHSIG` means the parent *thread*).

mod binaries;
mod error;
mod place;
mod postmaster;
mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::sync::oneshot;

pub use error::Error;
use supervisor::Order;

/// The name of the superuser that initdb creates.
const SUPERUSER: &str = "postgres";

/// No TCP port is ever opened; the number is part of the socket's file name.
const PORT: u16 = 5432;

/// How the server is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder for this cluster and nothing else; created when missing.
    pub data_dir: PathBuf,
    /// Whether commits survive a crash of the machine. Off is for throw-away data in tests.
    pub fsync: bool,
    /// Where `postgres` and `initdb` lie. When not given: the folder in `BANYAN_POSTGRES_BIN`, then
    /// `PATH`, then the usual places of the system's packages, newest version first.
    pub bin_dir: Option<PathBuf>,
}

/// A running server, owned or attached to. Dropping it stops an owned server without waiting.
#[derive(Debug)]
pub struct Server {
    access: Access,
    owned: Arc<AtomicBool>,
    orders: Orders,
    stopped: oneshot::Receiver<Result<(), Error>>,
}

/// What it takes to reach the server; none of it changes while the folder is open.
#[derive(Debug, Clone)]
struct Access {
    place: PathBuf,
    moved_from: Option<PathBuf>,
    socket_dir: PathBuf,
    password: Password,
}

/// Its `Debug` shows nothing.
#[derive(Clone)]
struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Server {
    /// Opens the cluster: creates it on first use, ends what a killed process may have left, starts
    /// the server and returns once it takes connections. Where another live process owns the
    /// cluster, this one attaches to its server.
    ///
    /// There is no time limit, since crash recovery may rightly take minutes; dropping the future
    /// ends the attempt.
    ///
    /// # Errors
    /// No or unfit server programs, a folder that cannot be used, or a server that does not start.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let (order, orders) = mpsc::channel();
        let order = Orders(order);
        let (opened, opening) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let owned = Arc::new(AtomicBool::new(false));

        let log_events = order.0.clone();
        let thread_owned = Arc::clone(&owned);
        std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || {
                let outcome =
                    supervisor::run(&options, &orders, &log_events, &thread_owned, opened);
                // The receiver is gone when the server was dropped rather than stopped.
                let _ = ended.send(outcome);
            })
            .map_err(Error::Thread)?;

        let access = opening.await.map_err(|_| Error::Supervisor)??;
        Ok(Self {
            access,
            owned,
            orders: order,
            stopped,
        })
    }

    /// The superuser over the unix socket, in the database `postgres`.
    pub fn admin(&self) -> PgConnectOptions {
        self.database("postgres")
    }

    /// The superuser over the unix socket, in another database.
    pub fn database(&self, name: &str) -> PgConnectOptions {
        // The socket's folder is private, so TLS would only cost a round trip.
        PgConnectOptions::new_without_pgpass()
            .socket(&self.access.socket_dir)
            .port(PORT)
            .ssl_mode(PgSslMode::Disable)
            .username(SUPERUSER)
            .password(&self.access.password.0)
            .database(name)
    }

    /// The folder that holds the cluster.
    pub fn place(&self) -> &Path {
        &self.access.place
    }

    /// The folder that was asked for, where the unprivileged user that the server runs as cannot
    /// enter it and [`place`](Self::place) was taken instead.
    pub fn moved_from(&self) -> Option<&Path> {
        self.access.moved_from.as_deref()
    }

    /// Whether this process owns the server. An attached one comes to own it when the owner ends.
    pub fn owned(&self) -> bool {
        self.owned.load(Ordering::Acquire)
    }

    /// Stops an owned server (fast shutdown: open transactions are rolled back) and waits until it
    /// is gone. A server that is only attached to keeps running.
    ///
    /// # Errors
    /// When the server could not be ended.
    pub async fn stop(self) -> Result<(), Error> {
        let Self {
            orders, stopped, ..
        } = self;
        drop(orders);
        stopped.await.map_err(|_| Error::Supervisor)?
    }
}

/// The way to the supervising thread; going away is the order to stop.
#[derive(Debug)]
struct Orders(mpsc::Sender<Order>);

impl Drop for Orders {
    fn drop(&mut self) {
        // The thread is gone already when it could not open the cluster.
        let _ = self.0.send(Order::Stop);
    }
}
