//! The thread that owns the cluster: everything that blocks happens here, one step after the other.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use crate::binaries::Binaries;
use crate::error::io;
use crate::place::{Place, User};
use crate::postmaster::{self, Bearer, PidFile};
use crate::{Access, Error, Options, PORT, SUPERUSER};

/// What the thread waits for.
pub(crate) enum Order {
    Stop,
    /// Every process of the server has closed its log: a sign that it ended.
    LogClosed,
}

/// One server process, and the thread that reads its log.
struct Running {
    child: Child,
    log: JoinHandle<()>,
}

/// How the supervision of one server process ended.
enum Ended {
    Stopped,
    Died(ExitStatus),
}

/// How often to look whether a starting server is ready: 5 ms are lost in a start of 100.
const READY_POLL: Duration = Duration::from_millis(5);

/// How often an attached process looks whether the owner has gone.
const OWNER_POLL: Duration = Duration::from_millis(250);

/// The net under [`Order::LogClosed`]: a process that a server has started may keep its log open.
const CHILD_POLL: Duration = Duration::from_secs(1);

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// A server that ran this long before it died is started again without delay.
const STEADY: Duration = Duration::from_secs(60);

/// Failed first starts are repeated, since the backends of a server that was killed a moment ago
/// may still hold its shared memory: 0.1 + 0.2 + 0.4 + 0.8 s.
const FIRST_ATTEMPTS: u32 = 5;

/// Lines kept to explain a failed start.
const TAIL: usize = 20;

/// A longer line of the server's log is cut into pieces, so that memory is bounded.
const LINE_BYTES: u64 = 8 * 1024;

pub(crate) fn run(
    options: &Options,
    orders: &Receiver<Order>,
    log_events: &Sender<Order>,
    owned: &Arc<AtomicBool>,
    opened: oneshot::Sender<Result<Access, Error>>,
) -> Result<(), Error> {
    let mut opened = Some(opened);
    let outcome = open_and_watch(options, orders, log_events, owned, &mut opened);
    owned.store(false, Ordering::Release);
    match (outcome, opened) {
        // Whoever opened it is told, and nobody will ask a second time.
        (Err(e), Some(opened)) => {
            let _ = opened.send(Err(e));
            Ok(())
        }
        (Err(e), None) => {
            tracing::error!(error = %e, "the embedded PostgreSQL server is given up");
            Err(e)
        }
        (Ok(()), _) => Ok(()),
    }
}

type Opened = Option<oneshot::Sender<Result<Access, Error>>>;

fn open_and_watch(
    options: &Options,
    orders: &Receiver<Order>,
    log_events: &Sender<Order>,
    owned: &AtomicBool,
    opened: &mut Opened,
) -> Result<(), Error> {
    let place = Place::settle(&options.data_dir)?;

    // Everybody has to find the same lock, so the place is settled first. It is released by the
    // kernel when this process dies, and no child inherits it (close-on-exec).
    let path = place.lock_file();
    let lock = place.open_file(
        &path,
        OpenOptions::new().read(true).write(true).create(true),
    )?;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(io("cannot lock", &path)(e)),
            Err(TryLockError::WouldBlock) => {}
        }
        if opened.is_some()
            && let Some(access) = attach(&place, &lock)?
        {
            tracing::info!(place = %place.dir().display(), "attached to the server of another process");
            report(opened, access);
        }
        let patience = if opened.is_some() {
            READY_POLL
        } else {
            OWNER_POLL
        };
        if stop_ordered(orders, patience) {
            return Ok(());
        }
    }

    // At once, or others attach to what the last owner has left.
    note_owner(&place, &lock, None)?;
    Owner::new(options, &place, &lock, orders, log_events)?.watch(owned, opened)
}

/// The server of the process that holds the lock, once it takes connections.
fn attach(place: &Place, mut lock: &File) -> Result<Option<Access>, Error> {
    let path = place.lock_file();
    let mut text = String::new();
    std::io::Seek::rewind(&mut lock)
        .and_then(|()| lock.read_to_string(&mut text))
        .map_err(io("cannot read", &path))?;
    // The owner writes it when the server is ready. A pid file alone may be that of a server which
    // a killed owner left behind and the next one is about to end.
    let server = text
        .lines()
        .find_map(|line| line.strip_prefix("server "))
        .and_then(|pid| pid.parse::<i32>().ok());
    let cluster = place.cluster();
    let (Some(server), Some(pid_file)) = (server, PidFile::read(&cluster)?) else {
        return Ok(None);
    };
    if pid_file.pid != server
        || !pid_file.ready
        || postmaster::bearer(server, &cluster) != Bearer::Server
    {
        return Ok(None);
    }
    let password = place.read_password()?.ok_or(Error::PasswordLost {
        file: place.password_file(),
    })?;
    Ok(Some(Access {
        place: place.dir().to_owned(),
        moved_from: place.moved_from().map(Path::to_owned),
        socket_dir: pid_file.socket_dir,
        password,
    }))
}

fn report(opened: &mut Opened, access: Access) {
    if let Some(opened) = opened.take() {
        // Nobody listens when the opening was given up; the order to stop is on its way then.
        let _ = opened.send(Ok(access));
    }
}

/// Waits for at most `patience`; whether the order came.
fn stop_ordered(orders: &Receiver<Order>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        match orders.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Order::LogClosed) => {}
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// The holder of the lock.
struct Owner<'a> {
    place: &'a Place,
    lock: &'a File,
    orders: &'a Receiver<Order>,
    log_events: &'a Sender<Order>,
    binaries: Binaries,
    access: Access,
    arguments: Vec<OsString>,
    /// The last lines of the server's log.
    tail: Arc<Mutex<VecDeque<String>>>,
    /// Whether the server is being stopped, so that what it says of it is no warning.
    stopping: Arc<AtomicBool>,
}

impl<'a> Owner<'a> {
    /// Puts everything in order that outlasts a server process.
    fn new(
        options: &Options,
        place: &'a Place,
        lock: &'a File,
        orders: &'a Receiver<Order>,
        log_events: &'a Sender<Order>,
    ) -> Result<Self, Error> {
        let binaries = Binaries::find(options.bin_dir.as_deref(), place)?;
        let password = place.password()?;
        let cluster = place.cluster();
        if place.cluster_version()?.is_none() {
            init(&binaries, place, options.fsync)?;
        }
        let socket_dir = place.socket_dir(&password)?;

        Ok(Self {
            place,
            lock,
            orders,
            log_events,
            binaries,
            arguments: arguments(&cluster, &socket_dir, options.fsync),
            access: Access {
                place: place.dir().to_owned(),
                moved_from: place.moved_from().map(Path::to_owned),
                socket_dir,
                password,
            },
            tail: Arc::default(),
            stopping: Arc::default(),
        })
    }

    /// Starts the server, and again whenever it dies, until the order to stop.
    fn watch(&self, owned: &AtomicBool, opened: &mut Opened) -> Result<(), Error> {
        let mut backoff = FIRST_BACKOFF;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let begun = Instant::now();
            let failure = match self.run_once(owned, opened) {
                Ok(Ended::Stopped) => break,
                Ok(Ended::Died(status)) => Error::Start {
                    status,
                    output: self.last_words(),
                },
                Err(error) => error,
            };
            if opened.is_some() && attempts >= FIRST_ATTEMPTS {
                return Err(failure);
            }
            // Once it was open it is never given up: a full disk gets room again.
            if begun.elapsed() > STEADY {
                backoff = FIRST_BACKOFF;
            }
            tracing::warn!(
                error = %failure,
                ?backoff,
                "the embedded PostgreSQL server is not running and is started again"
            );
            if stop_ordered(self.orders, backoff) {
                break;
            }
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
        if !self.access.socket_dir.starts_with(self.place.dir()) {
            // A folder under /run or /tmp; it is made again at the next start.
            let _ = fs::remove_dir(&self.access.socket_dir);
        }
        Ok(())
    }

    /// From the start of one server process to its end.
    fn run_once(&self, owned: &AtomicBool, opened: &mut Opened) -> Result<Ended, Error> {
        note_owner(self.place, self.lock, None)?;
        postmaster::end_orphan(&self.place.cluster())?;
        self.make_way()?;
        let mut running = self.spawn()?;
        let outcome = self.attend(&mut running, owned, opened);
        if outcome.is_err() {
            // What went wrong was on this side; the server may be running still.
            self.end(&mut running.child)?;
        }
        outcome
    }

    /// Readies the socket's folder, which somebody who tidies /tmp may have removed.
    fn make_way(&self) -> Result<(), Error> {
        let dir = &self.access.socket_dir;
        self.place.make_dir(dir)?;
        // Like the pid file, the socket's lock file keeps a server from starting when its pid has
        // become another process's. No server lives here now.
        for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
            let path = dir.join(name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(io("cannot remove", &path)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn attend(
        &self,
        running: &mut Running,
        owned: &AtomicBool,
        opened: &mut Opened,
    ) -> Result<Ended, Error> {
        if let Some(ended) = self.wait_ready(running)? {
            return Ok(ended);
        }
        let pid = running.child.id();
        note_owner(self.place, self.lock, Some(pid))?;
        owned.store(true, Ordering::Release);
        tracing::debug!(
            server.pid = pid,
            place = %self.place.dir().display(),
            "embedded PostgreSQL is ready"
        );
        report(opened, self.access.clone());
        self.wait_end(running)
    }

    fn spawn(&self) -> Result<Running, Error> {
        self.stopping.store(false, Ordering::Release);
        let program = self.binaries.postgres();
        let mut command = command(&program, self.place.user());
        command
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // A fast shutdown: the server ends its clients, writes a checkpoint and leaves.
        tie_to_this_thread(&mut command, Signal::SIGINT);
        let mut child = command.spawn().map_err(|source| Error::Run {
            program: program.clone(),
            source,
        })?;

        let log = child.stderr.take();
        let tail = Arc::clone(&self.tail);
        let stopping = Arc::clone(&self.stopping);
        let closed = self.log_events.clone();
        let reader = std::thread::Builder::new()
            .name("postgres-log".to_owned())
            .spawn(move || {
                if let Some(log) = log {
                    forward(log, &tail, &stopping);
                }
                // The supervisor is gone when the process is about to end.
                let _ = closed.send(Order::LogClosed);
            });
        match reader {
            Ok(log) => Ok(Running { child, log }),
            Err(e) => {
                self.end(&mut child)?;
                Err(Error::Thread(e))
            }
        }
    }

    /// `None` once the server takes connections; otherwise how it ended before.
    fn wait_ready(&self, running: &mut Running) -> Result<Option<Ended>, Error> {
        let begun = Instant::now();
        let mut told = false;
        let cluster = self.place.cluster();
        loop {
            let ready = PidFile::read(&cluster)?
                .is_some_and(|file| file.ready && file.pid.unsigned_abs() == running.child.id());
            if ready {
                return Ok(None);
            }
            if stop_ordered(self.orders, READY_POLL) {
                self.end(&mut running.child)?;
                return Ok(Some(Ended::Stopped));
            }
            if let Some(status) = self.exited(running)? {
                return Ok(Some(Ended::Died(status)));
            }
            if !told && begun.elapsed() > Duration::from_secs(5) {
                told = true;
                tracing::info!("the embedded PostgreSQL server is still recovering");
            }
        }
    }

    fn wait_end(&self, running: &mut Running) -> Result<Ended, Error> {
        loop {
            match self.orders.recv_timeout(CHILD_POLL) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.end(&mut running.child)?;
                    return Ok(Ended::Stopped);
                }
                Ok(Order::LogClosed) | Err(RecvTimeoutError::Timeout) => {
                    if let Some(status) = self.exited(running)? {
                        return Ok(Ended::Died(status));
                    }
                }
            }
        }
    }

    fn exited(&self, running: &mut Running) -> Result<Option<ExitStatus>, Error> {
        let status = running.child.try_wait().map_err(|source| Error::Run {
            program: self.binaries.postgres(),
            source,
        })?;
        if status.is_some() {
            // Its backends follow it within moments; then the log is complete, too.
            let deadline = Instant::now() + Duration::from_secs(2);
            while !running.log.is_finished() && Instant::now() < deadline {
                std::thread::sleep(READY_POLL);
            }
        }
        Ok(status)
    }

    /// Ends the server and waits until it is gone: politely, then less so.
    fn end(&self, child: &mut Child) -> Result<(), Error> {
        self.stopping.store(true, Ordering::Release);
        let pid = Pid::from_raw(child.id().cast_signed());
        for (signal, patience) in [
            // The last checkpoint of a fast shutdown takes its time on a slow disk.
            (Signal::SIGINT, Duration::from_secs(60)),
            (Signal::SIGQUIT, Duration::from_secs(10)),
            (Signal::SIGKILL, Duration::from_secs(10)),
        ] {
            if signal != Signal::SIGINT {
                tracing::warn!(
                    signal = signal.as_str(),
                    "the embedded PostgreSQL server does not end; trying harder"
                );
            }
            // Not reaped yet, so the pid is still its own.
            let _ = kill(pid, signal);
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if child
                    .try_wait()
                    .map_err(|source| Error::Run {
                        program: self.binaries.postgres(),
                        source,
                    })?
                    .is_some()
                {
                    return Ok(());
                }
                // Mostly woken by the log's end rather than by the clock.
                let _ = self.orders.recv_timeout(Duration::from_millis(10));
            }
        }
        Err(Error::Orphan { pid: pid.as_raw() })
    }

    fn last_words(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// Writes down whose the cluster is; a reader who cannot get the lock attaches to that server.
fn note_owner(place: &Place, mut lock: &File, server: Option<u32>) -> Result<(), Error> {
    let mut text = format!("host {}\n", std::process::id());
    if let Some(pid) = server {
        text += &format!("server {pid}\n");
    }
    lock.set_len(0)
        .and_then(|()| std::io::Seek::rewind(&mut lock))
        .and_then(|()| lock.write_all(text.as_bytes()))
        .map_err(io("cannot write", &place.lock_file()))
}

/// Makes the cluster under another name first, so that one of its own name is always complete.
fn init(binaries: &Binaries, place: &Place, fsync: bool) -> Result<(), Error> {
    for entry in fs::read_dir(place.dir()).into_iter().flatten().flatten() {
        // Left by a process that was killed in the middle.
        if entry.file_name().to_string_lossy().starts_with("cluster.") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let unfinished = place
        .dir()
        .join(format!("cluster.{:08x}", rand::random::<u32>()));
    place.make_dir(&unfinished)?;

    let program = binaries.initdb();
    let mut command = command(&program, place.user());
    command
        .arg("-D")
        .arg(&unfinished)
        .args(["-U", SUPERUSER, "-E", "UTF8", "--auth=scram-sha-256"])
        .arg("--pwfile")
        .arg(place.password_file())
        .args(["--data-checksums", "--no-instructions"])
        .arg(if cfg!(target_os = "macos") {
            "--locale=en_US.UTF-8"
        } else {
            "--locale=C.UTF-8"
        });
    if !fsync {
        command.arg("--no-sync");
    }
    tie_to_this_thread(&mut command, Signal::SIGKILL);
    let output = command.output().map_err(|source| Error::Run {
        program: program.clone(),
        source,
    })?;
    if !output.status.success() {
        let _ = fs::remove_dir_all(&unfinished);
        let text = [output.stderr, output.stdout].concat();
        return Err(Error::Initdb {
            status: output.status,
            output: String::from_utf8_lossy(&text).trim().replace('\n', "; "),
        });
    }

    let cluster = place.cluster();
    fs::rename(&unfinished, &cluster).map_err(io("cannot name", &cluster))?;
    if fsync {
        File::open(place.dir())
            .and_then(|dir| dir.sync_all())
            .map_err(io("cannot write out", place.dir()))?;
    }
    Ok(())
}

/// The server's command line. What is set here cannot be changed by its configuration files.
fn arguments(cluster: &Path, socket_dir: &Path, fsync: bool) -> Vec<OsString> {
    let mut arguments = vec![OsString::from("-D"), cluster.into()];
    let mut set = |name: &str, value: OsString| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value);
        arguments.extend([OsString::from("-c"), setting]);
    };

    // Reached through a private folder only. The setting is a list, hence the quotes.
    let mut socket = OsString::from("\"");
    socket.push(PathBuf::from(
        socket_dir.to_string_lossy().replace('"', "\"\""),
    ));
    socket.push("\"");
    set("unix_socket_directories", socket);
    for (name, value) in [
        ("unix_socket_permissions", "0700".to_owned()),
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        ("password_encryption", "scram-sha-256".to_owned()),
        // Room for a pool per module in several processes; an unused slot costs about 2 kB.
        ("max_connections", "200".to_owned()),
        // A small node: the data set of a trial fits, and an idle server takes some 20 MB.
        ("shared_buffers", "64MB".to_owned()),
        // Fewer checkpoints under load than 1 GB would need, and at most this much disk.
        ("max_wal_size", "512MB".to_owned()),
        // Parallel queries need dynamic shared memory, of which a container has 64 MB, and compiling
        // takes longer than the short queries run that this server is for.
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("jit", "off".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("cluster_name", "banyan".to_owned()),
        // The log goes to the host's own. Neither statements nor the details of errors: both hold
        // values, and those are people's data.
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_line_prefix", String::new()),
        ("log_error_verbosity", "terse".to_owned()),
        ("log_min_error_statement", "panic".to_owned()),
        ("log_statement", "none".to_owned()),
        // Words that `forward` knows.
        ("lc_messages", "C".to_owned()),
    ] {
        set(name, value.into());
    }
    // Without these, commits still survive the death of processes, not that of the machine. Leaving
    // out synchronous_commit too would lose the last of them with a killed server.
    let durable = if fsync { "on" } else { "off" };
    for name in ["fsync", "full_page_writes"] {
        set(name, durable.into());
    }
    arguments
}

/// A program of PostgreSQL, run as the server's user and apart from this process's surroundings.
pub(crate) fn command(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    // The host's environment may hold secrets and settings of another server (PGDATA, PGOPTIONS).
    command.env_clear();
    for name in [
        "PATH",
        "TMPDIR",
        "TZDIR",
        // What programs need that lie in a folder of their own
        "DYLD_LIBRARY_PATH",
        "LD_LIBRARY_PATH",
        "LOCALE_ARCHIVE",
        "LOCPATH",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("LC_ALL", "C")
        // The user may not be allowed into the host's folder, and initdb insists on coming back.
        .current_dir("/")
        .stdin(Stdio::null())
        // Ctrl-C in the terminal is for the host, which stops the server when it has drained.
        .process_group(0);
    if let Some(User { uid, gid }) = user {
        // Also drops root's supplementary groups.
        command.uid(uid).gid(gid);
    }
    command
}

/// Has the kernel send `signal` when the calling thread ends, thus also when its process is killed.
#[expect(
    unsafe_code,
    reason = "what a child does between fork and exec cannot be checked by the compiler"
)]
fn tie_to_this_thread(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    // SAFETY: only async-signal-safe system calls, no allocation, no locks.
    unsafe {
        command.pre_exec(move || {
            // A shell may have started the host with interrupts ignored, which is inherited.
            nix::sys::signal::signal(signal_to_reset(signal), SigHandler::SigDfl)?;
            #[cfg(target_os = "linux")]
            {
                // After the change of user, which clears it.
                nix::sys::prctl::set_pdeathsig(signal)?;
            }
            // It died before the kernel was told.
            if nix::unistd::getppid() != parent {
                return Err(nix::errno::Errno::ESRCH.into());
            }
            Ok(())
        });
    }
}

/// SIGKILL has no disposition; resetting SIGINT does no harm in its place.
const fn signal_to_reset(signal: Signal) -> Signal {
    match signal {
        Signal::SIGKILL => Signal::SIGINT,
        other => other,
    }
}

/// Hands the server's log to `tracing`, line by line, until the last of its processes closes it.
fn forward(log: impl Read, tail: &Mutex<VecDeque<String>>, stopping: &AtomicBool) {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut log).take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        // A client's mistake (ERROR) is for that client to report; clients are turned away with
        // FATAL while the server starts or stops, and at the first start, before there is a database;
        // and they may go without a word.
        let expected = stopping.load(Ordering::Acquire)
            || text.starts_with("FATAL:  the database system is ")
            || text.starts_with("FATAL:  database ") && text.ends_with(" does not exist")
            || text == "FATAL:  connection to client lost";
        let serious = text.starts_with("FATAL:") || text.starts_with("PANIC:");
        if serious && !expected {
            tracing::warn!(target: "embedded::postgres", "{text}");
        } else {
            tracing::debug!(target: "embedded::postgres", "{text}");
        }

        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(text.to_owned());
    }
}
