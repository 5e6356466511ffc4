//! The real program as five processes: a gateway and one per module, each on an embedded database of
//! its own, with a nats-server between them. As `make split` starts them, on free ports.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use banyan::modules::MODULES;
use nats_server::{NatsServer, users};
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    cluster::{self, Databases},
    process::{DataDir, Process, banyan},
};

pub const GATEWAY: &str = "gateway";

/// One at a time: each is a dozen processes, and none measures what another slows down.
static TURN: Mutex<()> = Mutex::const_new(());

pub struct Split {
    pub nats: NatsServer,
    /// Where people reach it.
    pub url: String,
    /// The same of the second gateway, if there is one.
    pub second_url: Option<String>,
    nodes: BTreeMap<&'static str, Node>,
    folder: DataDir,
    /// What the gateway's configuration has besides.
    routes: String,
    /// Databases of the tests' cluster, in place of embedded ones.
    databases: Option<Databases>,
    _turn: MutexGuard<'static, ()>,
}

struct Node {
    process: Option<Process>,
    folder: PathBuf,
    port: u16,
    operations_port: u16,
}

/// Gateway and modules.
pub fn names() -> impl Iterator<Item = &'static str> {
    let modules = MODULES.iter().map(|module| module.name());
    modules.chain([GATEWAY])
}

/// Second instances, in the same order.
pub fn seconds() -> impl Iterator<Item = &'static str> {
    names().map(|name| &*Box::leak(format!("{name}.2").into_boxed_str()))
}

/// Of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a node is an instance of.
fn kind(name: &str) -> &str {
    name.strip_suffix(".2").unwrap_or(name)
}

impl Split {
    /// Starts everything, and waits until all of it is ready.
    pub async fn start() -> Self {
        Self::start_with(String::new()).await
    }

    /// The same with routes to services outside.
    pub async fn start_with(routes: String) -> Self {
        Self::of(names().collect(), routes, None).await
    }

    /// The same with two of each, on databases that outlive the processes.
    pub async fn start_doubled() -> Self {
        let databases = Databases::apart().await;
        let names = names().chain(seconds()).collect();
        Self::of(names, String::new(), Some(databases)).await
    }

    async fn of(names: Vec<&'static str>, routes: String, databases: Option<Databases>) -> Self {
        let turn = TURN.lock().await;
        let folder = DataDir::new();
        let store = folder.0.join("nats");
        let rights = include_str!("../../../config/split/nats.conf");
        let users = users::configure(rights, &folder.0).expect("a file");
        let log = folder.0.join("nats.log").into_os_string();
        let arguments = ["-c".into(), users.into_os_string(), "-l".into(), log];
        let nats = tokio::task::spawn_blocking(move || NatsServer::start(&store, arguments))
            .await
            .expect("no panic")
            .expect("nats-server starts");
        write(&folder.0.join("sealing_key"), KEY);
        let mut nodes = BTreeMap::new();
        for name in &names {
            let node = Node {
                process: None,
                folder: folder.0.join(name),
                port: Process::free_port(),
                operations_port: Process::free_port(),
            };
            std::fs::create_dir_all(&node.folder).expect("a folder");
            nodes.insert(*name, node);
        }
        let url = |name: &str| Some(format!("http://127.0.0.1:{}", nodes.get(name)?.port));
        let mut split = Self {
            url: url(GATEWAY).expect("a gateway"),
            second_url: url("gateway.2"),
            nats,
            nodes,
            folder,
            routes,
            databases,
            _turn: turn,
        };
        split.make_service().await;
        for name in names {
            split.launch(name);
        }
        split.all_ready().await;
        split
    }

    /// The service as which the processes ship their log records.
    async fn make_service(&self) {
        self.run("identity", &["migrate"]).await;
        let scopes = ["logs:write", "logs:write:internal"];
        self.create_service("process", &scopes).await;
    }

    /// Makes a service; its secret is in the file `<id>.secret`.
    pub async fn create_service(&self, id: &str, scopes: &[&str]) {
        let secret = self.path(&format!("{id}.secret"));
        let secret = secret.to_str().expect("UTF-8");
        let mut words = vec![
            "service",
            "create",
            id,
            "--name",
            id,
            "--secret-file",
            secret,
        ];
        words.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        self.run("identity", &words).await;
    }

    /// Runs a command with a process's configuration.
    pub async fn run(&self, name: &str, words: &[&str]) {
        let output = self.command(name).args(words).output().await;
        let output = output.expect("the program runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
    }

    /// The program with a process's configuration.
    pub fn command(&self, name: &str) -> tokio::process::Command {
        let kind = kind(name);
        let mut file = root().join(format!("config/split/{kind}.toml"));
        if kind == GATEWAY {
            let own = std::fs::read_to_string(file).expect("it is there");
            file = self.path("gateway.toml");
            write(&file, &(own + &self.routes));
        }
        let mut command = banyan(&self.nodes[name].folder);
        command
            .arg("--config")
            .arg(file)
            .env("BANYAN__SERVER__PUBLIC_URL", &self.url)
            .env("BANYAN__SERVER__DRAIN_SECONDS", self.drain_seconds())
            .env("BANYAN__BUS__NATS__URLS", self.nats.url())
            .env("BANYAN__BUS__NATS__PASSWORD_FILE", self.password_file(kind))
            // Secrets go to no proxy that the environment happens to name: nobody listens there.
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("BANYAN__LOG__FILTER", "info")
            // A mail that failed because its own database was killed is not left for long.
            .env("BANYAN__NOTIFICATION__RETRY_BASE_SECONDS", "1");
        if ["identity", "notification"].contains(&kind) {
            let key = self.path("sealing_key");
            command.env("BANYAN__SECRETS__SEALING_KEY_FILE", key);
        }
        if kind == GATEWAY {
            for module in MODULES {
                let section = format!("BANYAN__MODULES__{}", module.name().to_uppercase());
                let places = |port| self.places(module.name(), port);
                command
                    .env(format!("{section}__AT"), places(|node| node.port))
                    .env(
                        format!("{section}__INTERNAL_AT"),
                        places(|node| node.operations_port),
                    );
            }
        } else if let Some(databases) = &self.databases {
            command
                .env("BANYAN__DATABASE__URL", databases.url_of(kind))
                .env("BANYAN__DATABASE__ROLE_SECRET", cluster::ROLE_SECRET)
                .env("BANYAN__SECRETS__MASTER_KEY", KEY);
        }
        command
    }

    /// Time for gateways to notice that a process is about to stop; only where there is another.
    fn drain_seconds(&self) -> &'static str {
        if self.databases.is_some() { "3" } else { "0" }
    }

    /// The addresses of a module's instances.
    fn places(&self, module: &str, port: fn(&Node) -> u16) -> String {
        let nodes = self.nodes.iter().filter(|(name, _)| kind(name) == module);
        let places = nodes.map(|(_, node)| format!("http://127.0.0.1:{}", port(node)));
        places.collect::<Vec<_>>().join(",")
    }

    fn launch(&mut self, name: &'static str) {
        let log = self.nodes[name].folder.join("serve.log");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let mut command = self.command(name);
        let port = self.nodes[name].port;
        let listen = format!("127.0.0.1:{port}");
        let operations = format!("127.0.0.1:{}", self.nodes[name].operations_port);
        let child = command
            .args(["serve", "--listen", &listen])
            .env("BANYAN__SERVER__OPERATIONS_LISTEN", operations)
            .env("BANYAN__SERVICE__ID", "process")
            .env("BANYAN__SERVICE__SECRET_FILE", self.path("process.secret"))
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program starts");
        let process = Process::of(child, port, log);
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
        let names: Vec<_> = self.nodes.keys().copied().collect();
        for name in names {
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
        if let Some(databases) = &self.databases {
            let conn = databases.of(module).connect().await;
            return conn.expect("the database answers");
        }
        let options = embedded::Options {
            data_dir: self.nodes[module].folder.join("postgres"),
            fsync: true,
            bin_dir: None,
        };
        let server = embedded::Server::open(options).await.expect("it runs");
        let conn = server.database("banyan").connect().await;
        conn.expect("the database answers")
    }

    /// SIGTERM, and the end in good order that follows.
    pub async fn stop_one(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).expect("a node");
        let process = node.process.take().expect("it runs");
        assert!(process.stop().await.success(), "{name} ends well");
    }

    /// In good order, the gateway first.
    pub async fn stop(mut self) {
        let running =
            |(name, node): (&&'static str, &Node)| node.process.is_some().then_some(*name);
        let names: Vec<_> = self.nodes.iter().filter_map(running).collect();
        let (first, then): (Vec<_>, Vec<_>) = names.iter().partition(|name| kind(name) == GATEWAY);
        for name in first.into_iter().chain(then) {
            self.stop_one(name).await;
        }
    }

    /// Of a user of the broker.
    pub fn password_file(&self, user: &str) -> PathBuf {
        users::password_file(&self.folder.0, user)
    }

    /// What belongs to no process alone.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
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

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file");
}

/// 32 bytes in base64.
const KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
