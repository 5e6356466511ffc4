//! The real program as five processes: a gateway and one per module, each on an embedded database of
//! its own, with a nats-server between them. As `make split` starts them, on free ports.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use banyan::modules::MODULES;
use nats_server::NatsServer;
use sqlx::{ConnectOptions, PgConnection};

use super::process::{DataDir, Process, banyan};

pub const GATEWAY: &str = "gateway";

pub struct Split {
    pub nats: NatsServer,
    pub url: String,
    nodes: BTreeMap<&'static str, Node>,
    folder: DataDir,
    ports: BTreeMap<&'static str, u16>,
}

struct Node {
    process: Option<Process>,
    folder: PathBuf,
}

/// Gateway and modules.
pub fn names() -> impl Iterator<Item = &'static str> {
    let modules = MODULES.iter().map(|module| module.name());
    modules.chain([GATEWAY])
}

impl Split {
    /// Starts everything, and waits until all of it is ready.
    pub async fn start() -> Self {
        let folder = DataDir::new();
        let store = folder.0.join("nats");
        let nats = tokio::task::spawn_blocking(move || NatsServer::start(&store, []))
            .await
            .expect("no panic")
            .expect("nats-server starts");
        std::fs::write(folder.0.join("sealing_key"), SEALING_KEY).expect("a file");
        let ports: BTreeMap<_, _> = names().map(|name| (name, Process::free_port())).collect();
        let mut split = Self {
            url: format!("http://127.0.0.1:{}", ports[GATEWAY]),
            nats,
            nodes: BTreeMap::new(),
            ports,
            folder,
        };
        for name in names() {
            let folder = split.folder.0.join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            let node = Node {
                process: None,
                folder,
            };
            split.nodes.insert(name, node);
        }
        split.make_service().await;
        for name in names() {
            split.launch(name);
        }
        split.all_ready().await;
        split
    }

    /// The service as which the processes ship their log records.
    async fn make_service(&self) {
        for words in [
            &["migrate"][..],
            &[
                "service",
                "create",
                "process",
                "--name",
                "A process of this installation",
                "--scope",
                "logs:write",
                "--scope",
                "logs:write:internal",
                "--secret-file",
            ],
        ] {
            let mut command = self.command("identity");
            command.args(words);
            if words.len() > 1 {
                command.arg(self.folder.0.join("secret"));
            }
            let output = command.output().await.expect("the program runs");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{error}");
        }
    }

    /// The program with a process's configuration.
    pub fn command(&self, name: &str) -> tokio::process::Command {
        let file = format!("{}/config/split/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let mut command = banyan(&self.nodes[name].folder);
        command
            .args(["--config", &file])
            .env("BANYAN__SERVER__PUBLIC_URL", &self.url)
            .env("BANYAN__BUS__NATS__URLS", self.nats.url());
        if ["identity", "notification"].contains(&name) {
            let key = self.folder.0.join("sealing_key");
            command.env("BANYAN__SECRETS__SEALING_KEY_FILE", key);
        }
        if name == GATEWAY {
            for module in MODULES {
                let key = format!("BANYAN__MODULES__{}__AT", module.name().to_uppercase());
                let port = self.ports[module.name()];
                command.env(key, format!("http://127.0.0.1:{port}"));
            }
        }
        command
    }

    fn launch(&mut self, name: &'static str) {
        let log = self.nodes[name].folder.join("serve.log");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let mut command = self.command(name);
        let listen = format!("127.0.0.1:{}", self.ports[name]);
        let child = command
            .args(["serve", "--listen", &listen])
            .env("BANYAN__SERVICE__ID", "process")
            .env("BANYAN__SERVICE__SECRET_FILE", self.folder.0.join("secret"))
            .env("BANYAN__GATEWAY__AUTH_REQUESTS_PER_MINUTE", "0")
            .env("BANYAN__GATEWAY__REQUESTS_PER_MINUTE", "0")
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program starts");
        let process = Process::of(child, self.ports[name], log);
        let node = self.nodes.get_mut(name).expect("a node");
        node.process = Some(process);
    }

    fn process(&mut self, name: &str) -> &mut Process {
        let node = self.nodes.get_mut(name).expect("a node");
        node.process.as_mut().expect("it runs")
    }

    /// Waits until a process says that it is ready.
    pub async fn ready(&mut self, name: &str) {
        self.process(name).answers("/health/ready", 200).await;
    }

    /// Waits until all are, and the gateway knows.
    pub async fn all_ready(&mut self) {
        for name in names() {
            self.ready(name).await;
        }
        let url = format!("{}/health/ready", self.url);
        loop {
            let answer = reqwest::get(&url).await.expect("the gateway answers");
            let ready: serde_json::Value = answer.json().await.expect("JSON");
            if ready["status"] == "ready" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// kill -9, at once.
    pub async fn kill(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).expect("a node");
        node.process.take().expect("it runs").kill().await;
    }

    /// Starts one that was killed; it is not ready yet.
    pub fn start_again(&mut self, name: &'static str) {
        self.launch(name);
    }

    /// A signal by its name, to the program itself.
    pub async fn signal(&mut self, name: &str, signal: &str) {
        let pid = self.process(name).child.id().expect("it runs");
        send(pid, signal).await;
    }

    /// As the superuser, in a module's own database.
    pub async fn database(&self, module: &str) -> PgConnection {
        let options = embedded::Options {
            data_dir: self.nodes[module].folder.join("postgres"),
            fsync: true,
            bin_dir: None,
        };
        let server = embedded::Server::open(options).await.expect("it runs");
        let conn = server.database("banyan").connect().await;
        conn.expect("the database answers")
    }

    /// In good order, the gateway first.
    pub async fn stop(mut self) {
        for name in [GATEWAY].into_iter().chain(names()) {
            let node = self.nodes.get_mut(name).expect("a node");
            if let Some(process) = node.process.take() {
                assert!(process.stop().await.success(), "{name} ends well");
            }
        }
    }

    /// Where a process keeps its things.
    pub fn folder(&self, name: &str) -> &Path {
        &self.nodes[name].folder
    }
}

pub async fn send(pid: u32, signal: &str) {
    let status = tokio::process::Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status()
        .await
        .expect("kill runs");
    assert!(status.success());
}

const SEALING_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
