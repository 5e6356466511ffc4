//! What `make split` starts, on other ports, and examples/analytics beside it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nats_server::NatsServer;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::{
    PASSWORD,
    process::{DataDir, Process, banyan},
    six_digits,
};

const MODULES: [&str; 4] = ["identity", "profile", "notification", "logging"];
const USERS: [&str; 7] = [
    "gateway",
    "identity",
    "profile",
    "notification",
    "logging",
    "operator",
    "analytics",
];
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test.
pub struct Installation {
    folder: DataDir,
    pub nats: NatsServer,
    url: String,
    analytics_at: String,
    pub analytics: Option<Child>,
    _processes: Vec<Child>,
    http: reqwest::Client,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// No secret but within the test.
pub fn password(user: &str) -> String {
    format!("password-of-{user}")
}

/// With what scripts/install-analytics.sh installs.
pub fn python() -> Command {
    let mut python = Command::new(root().join("examples/analytics/.venv/bin/python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

impl Installation {
    pub async fn start() -> Self {
        let folder = DataDir::new();
        let dir = folder.0.clone();
        let mut conf = std::fs::read_to_string(root().join("config/split/nats.conf")).unwrap();
        for user in USERS {
            let variable = format!("${}_PASSWORD", user.to_uppercase());
            assert!(conf.contains(&variable), "{variable} is not in nats.conf");
            conf = conf.replace(&variable, &password(user));
            std::fs::write(dir.join(format!("{user}.password")), password(user)).unwrap();
        }
        std::fs::write(dir.join("nats.conf"), conf).unwrap();
        let arguments = ["-c".into(), dir.join("nats.conf").into()];
        let log = ["-l".into(), dir.join("nats.log").into()];
        let nats = NatsServer::start(&dir.join("nats"), arguments.into_iter().chain(log)).unwrap();
        std::fs::write(
            dir.join("sealing_key"),
            "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
        )
        .unwrap();

        let port = Process::free_port();
        let mut it = Self {
            url: format!("http://127.0.0.1:{port}"),
            analytics_at: format!("127.0.0.1:{}", Process::free_port()),
            analytics: None,
            _processes: Vec::new(),
            http: reqwest::Client::new(),
            folder,
            nats,
        };
        it.run("identity", &["migrate"]).await;
        for service in [
            "gateway",
            "identity",
            "profile",
            "notification",
            "analytics",
        ] {
            let secret = dir.join(format!("{service}.secret"));
            let mut create = vec!["service", "create", service, "--name", service];
            create.extend(["--scope", "logs:write", "--secret-file"]);
            create.push(secret.to_str().unwrap());
            if service != "analytics" {
                create.extend(["--scope", "logs:write:internal"]);
            }
            it.run("identity", &create).await;
        }
        let mut places = Vec::new();
        for module in MODULES {
            let at = format!("127.0.0.1:{}", Process::free_port());
            it.serve(module, &at, &[]);
            answers(&format!("http://{at}/health/live")).await;
            let key = format!("BANYAN__MODULES__{}__AT", module.to_uppercase());
            places.push((key, format!("http://{at}")));
        }
        assert!(
            it.analytics("operator", &["provision"])
                .wait()
                .await
                .unwrap()
                .success()
        );
        it.start_analytics().await;
        let at = it.url.trim_start_matches("http://").to_owned();
        it.serve("gateway", &at, &places);
        answers(&format!("{}/health/ready", it.url)).await;
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// The program with the configuration that `make split` gives a process, on other ports.
    fn banyan(&self, process: &str) -> Command {
        let mut file = root().join(format!("config/split/{process}.toml"));
        if process == "gateway" {
            let route = std::fs::read_to_string(root().join("examples/analytics/route.toml"));
            let route = route.unwrap().replace("127.0.0.1:8090", &self.analytics_at);
            let own = std::fs::read_to_string(file).unwrap();
            file = self.path("gateway.toml");
            std::fs::write(&file, own + &route).unwrap();
        }
        let mut command = banyan(&self.path(process));
        command
            .arg("--config")
            .arg(file)
            .env("BANYAN__SERVER__PUBLIC_URL", &self.url)
            .env("BANYAN__BUS__NATS__URLS", self.nats.url())
            .env(
                "BANYAN__BUS__NATS__PASSWORD_FILE",
                self.path(&format!("{process}.password")),
            )
            .env(
                "BANYAN__SERVICE__TOKEN_URL",
                format!("{}/api/v1/auth/token", self.url),
            )
            .stdout(Stdio::null());
        if matches!(process, "identity" | "notification") {
            command.env(
                "BANYAN__SECRETS__SEALING_KEY_FILE",
                self.path("sealing_key"),
            );
        }
        command
    }

    async fn run(&self, process: &str, arguments: &[&str]) {
        let output = self.banyan(process).args(arguments).output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {told}");
    }

    fn serve(&mut self, process: &str, at: &str, more: &[(String, String)]) {
        let log = std::fs::File::create(self.path(&format!("{process}.log"))).unwrap();
        let mut command = self.banyan(process);
        if process != "logging" {
            command.env("BANYAN__SERVICE__ID", process).env(
                "BANYAN__SERVICE__SECRET_FILE",
                self.path(&format!("{process}.secret")),
            );
        }
        let child = command
            .args(["serve", "--listen", at])
            .envs(more.iter().cloned())
            .stderr(log)
            .spawn();
        self._processes.push(child.expect("the program starts"));
    }

    fn analytics(&self, user: &str, arguments: &[&str]) -> Child {
        let log = std::fs::File::create(self.path("analytics.log")).unwrap();
        python()
            .args(["-m", "analytics"])
            .args(arguments)
            .env("PYTHONPATH", root().join("examples/analytics"))
            .env("ANALYTICS_LISTEN", &self.analytics_at)
            .env("ANALYTICS_BANYAN", &self.url)
            .env("ANALYTICS_SECRET_FILE", self.path("analytics.secret"))
            .env("ANALYTICS_NATS", self.nats.url())
            .env("ANALYTICS_NATS_USER", user)
            .env(
                "ANALYTICS_NATS_PASSWORD_FILE",
                self.path(&format!("{user}.password")),
            )
            .env("ANALYTICS_DATABASE", self.path("analytics.db"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("scripts/install-analytics.sh was run")
    }

    pub async fn start_analytics(&mut self) {
        self.analytics = Some(self.analytics("analytics", &[]));
        answers(&format!("http://{}/healthz", self.analytics_at)).await;
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, String) {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("a text"))
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).json(&body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// An access token of somebody new.
    pub async fn sign_up(&self, email: &str) -> String {
        let body = json!({ "email": email, "password": PASSWORD });
        let registration = self.post("/api/v1/auth/registrations", body).await;
        let mails = format!("/dev/mailbox/messages?to={email}");
        let mut text = String::new();
        until("a mail", async || {
            let mails: Value = serde_json::from_str(&self.get(&mails, None).await.1).unwrap();
            text = mails[0]["text"].as_str().unwrap_or_default().to_owned();
            !text.is_empty()
        })
        .await;
        let id = registration["id"].as_str().unwrap();
        let verify = format!("/api/v1/auth/registrations/{id}/verify");
        let tokens = self
            .post(&verify, json!({ "code": six_digits(&text) }))
            .await;
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn admin(&self) -> String {
        let mut create = self.banyan("identity");
        create.args([
            "user",
            "create-admin",
            "--email",
            "root@example.com",
            "--password-stdin",
        ]);
        let mut child = create.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, PASSWORD.as_bytes())
            .await
            .unwrap();
        drop(stdin);
        assert!(child.wait().await.unwrap().success());
        let body = json!({ "email": "root@example.com", "password": PASSWORD });
        let tokens = self.post("/api/v1/auth/login", body).await;
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    /// Waits until so many have been counted.
    pub async fn counts(&self, admin: &str, total: u64) {
        until(&format!("{total} sign-ups"), async || {
            let (status, text) = self.get("/analytics/v1/sign-ups?days=2", Some(admin)).await;
            // While the service is away.
            if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::BAD_GATEWAY {
                return false;
            }
            assert_eq!(status, 200, "{text}");
            let body: Value = serde_json::from_str(&text).unwrap();
            assert!(
                body["total"].as_u64() <= Some(total),
                "counted twice: {body}"
            );
            body["total"] == total
        })
        .await;
    }

    /// What the broker has refused so far.
    pub fn violations(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("nats.log")).unwrap();
        let refused = log.lines().filter(|line| line.contains("Violation"));
        refused.map(str::to_owned).collect()
    }
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn answers(url: &str) {
    until(url, async || {
        let answer = reqwest::get(url).await;
        let Ok(answer) = answer else { return false };
        // Ready and whole: a part that is down is told with 200 by the front door.
        answer.status() == 200 && !answer.text().await.unwrap_or_default().contains("down")
    })
    .await;
}
