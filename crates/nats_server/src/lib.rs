//! A nats-server of one's own, as a child process: for tests, measurements and trials on one machine.
//!
//! It listens on loopback, with JetStream in a folder that it is given, and ends with the process
//! that started it, however that ends.

pub mod users;

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// Names another program than the `nats-server` on the PATH.
const PROGRAM: &str = "BANYAN_NATS_SERVER";
/// On a machine that is busy with other work, too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port of loopback where nobody listens, and that this process hands out once. Not one that the
/// system gives to connections by itself (32768 and more, as a rule): it could be taken before the
/// program that it is for has started.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes begin in places of their own.
        let offset = std::process::id().wrapping_mul(61).wrapping_add(nth) % 12_000;
        let port = 20_000 + u16::try_from(offset).expect("below 12,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A server that runs, or can be run again.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    store: PathBuf,
    arguments: Vec<OsString>,
    running: Option<Running>,
}

/// The child lives on a thread of its own: the kernel ends it with the thread that started it.
#[derive(Debug)]
struct Running {
    pid: u32,
    /// Dropped to end it.
    _alive: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

impl NatsServer {
    /// Starts one on a free port; returns when it listens. `arguments` are the program's own, such
    /// as a file of configuration.
    ///
    /// # Errors
    /// When it is not installed (`scripts/install-nats.sh` does it), or does not listen in time.
    pub fn start(store: &Path, arguments: impl IntoIterator<Item = OsString>) -> io::Result<Self> {
        let mut server = Self {
            port: free_port(),
            store: store.to_owned(),
            arguments: arguments.into_iter().collect(),
            running: None,
        };
        server.start_again()?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// While it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Where its streams are: empty it, while it does not run, and they are lost.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// SIGKILL, and the end that follows.
    pub fn kill(&mut self) {
        if let Some(Running { _alive, ended, .. }) = self.running.take() {
            drop(_alive);
            let _ = ended.recv();
        }
    }

    /// Starts it on the same port and store, after [`kill`](Self::kill).
    pub fn start_again(&mut self) -> io::Result<()> {
        self.kill();
        let program = std::env::var_os(PROGRAM).unwrap_or_else(|| "nats-server".into());
        // Of util-linux, which every Linux has: the kernel kills the server with us.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
            .args([
                "-a",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-js",
                "-sd",
            ])
            .arg(&self.store)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (started, start) = mpsc::channel();
        let (alive, living) = mpsc::channel::<()>();
        let (told, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(child.id()));
            // Until whoever holds the other end lets go of it.
            let _ = living.recv();
            end(&mut child);
            let _ = told.send(());
        });
        let pid = start.recv().map_err(io::Error::other)??;
        self.running = Some(Running {
            pid,
            _alive: alive,
            ended,
        });
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "nats-server does not listen: is it installed (scripts/install-nats.sh)?",
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
