//! The real program as a process of its own, on an embedded database of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A data folder that is removed at the end.
pub struct DataDir(pub PathBuf);

impl DataDir {
    pub fn new() -> Self {
        let n = FOLDERS.fetch_add(1, Ordering::Relaxed);
        // Where an unprivileged user may enter, for the tests may run as root.
        let path = std::env::temp_dir().join(format!("banyan-test-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// With the configuration of `banyan.toml` in the folder, if there is one.
pub fn banyan(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    let config = data_dir.join("banyan.toml");
    if config.exists() {
        command.env("BANYAN_CONFIG", config);
    }
    command
        .env("BANYAN_ENV", "development")
        .env("BANYAN__LOG__FILTER", "warn")
        .env("BANYAN__IDENTITY__HASH_MEMORY_KIB", "8192")
        .env("BANYAN__IDENTITY__HASH_PASSES", "1")
        .env("BANYAN__IDENTITY__MAX_REGISTRATIONS_PER_ADDRESS", "100")
        // Loads have wrong passwords in them, all from one network.
        .env("BANYAN__IDENTITY__FREE_FAILURES_PER_ACCOUNT", "1000000")
        .env("BANYAN__IDENTITY__FREE_FAILURES_PER_NETWORK", "1000000")
        .env("BANYAN__NOTIFICATION__SMTP_TIMEOUT_SECONDS", "1")
        .env("BANYAN__SERVER__OPERATIONS_LISTEN", "127.0.0.1:0")
        .env("BANYAN__BUS__LEASE_SECONDS", "2")
        .arg("--data-dir")
        .arg(data_dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// `banyan serve`, answering.
pub struct Process {
    pub child: Child,
    pub url: String,
    log: PathBuf,
}

impl Process {
    /// The program takes it a moment later.
    pub fn free_port() -> u16 {
        nats_server::free_port()
    }

    pub async fn serve(data_dir: &Path) -> Self {
        Self::serve_on(data_dir, Self::free_port()).await
    }

    /// Serves, and has become ready.
    pub async fn serve_on(data_dir: &Path, port: u16) -> Self {
        Self::start(data_dir, port, "all").ready().await
    }

    /// One that was started in another way.
    pub fn of(child: Child, port: u16, log: PathBuf) -> Self {
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            log,
        }
    }

    pub async fn ready(mut self) -> Self {
        self.answers("/health/ready", 200).await;
        self
    }

    pub fn start(data_dir: &Path, port: u16, roles: &str) -> Self {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data_dir.join("serve.log"))
            .expect("a log file");
        let child = banyan(data_dir)
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--roles", roles])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let log = data_dir.join("serve.log");
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            log,
        }
    }

    /// Waits until a path is answered with a status.
    pub async fn answers(&mut self, path: &str, status: u16) {
        let http = reqwest::Client::new();
        let url = format!("{}{path}", self.url);
        let started = Instant::now();
        loop {
            if let Ok(answer) = http.get(&url).send().await
                && answer.status() == status
            {
                return;
            }
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                panic!("the program ended with {status}: {}", log());
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{path} does not answer {status}: {}",
                log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// kill -9, at once.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM, and the end that follows.
    pub async fn stop(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().expect("it runs");
        let status = Command::new("kill")
            .arg(pid.to_string())
            .status()
            .await
            .expect("kill runs");
        assert!(status.success());
        self.child.wait().await.expect("it ends")
    }
}
