//! What `make split` starts, on other ports, and examples/analytics beside it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    processes::insist,
    support::{
        PASSWORD,
        process::Process,
        split::{Split, root},
    },
};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test.
pub struct Installation {
    pub split: Split,
    analytics_at: String,
    pub analytics: Option<Child>,
    http: reqwest::Client,
}

/// With what scripts/install-analytics.sh installs.
pub fn python() -> Command {
    let mut python = Command::new(root().join("examples/analytics/.venv/bin/python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

impl Installation {
    pub async fn start() -> Self {
        let analytics_at = format!("127.0.0.1:{}", Process::free_port());
        let route = std::fs::read_to_string(root().join("examples/analytics/route.toml"));
        let route = route
            .expect("a route")
            .replace("127.0.0.1:8095", &analytics_at);
        let split = Split::start_with(route).await;
        split.create_service("analytics", &["logs:write"]).await;
        let mut it = Self {
            split,
            analytics_at,
            analytics: None,
            http: reqwest::Client::new(),
        };
        let provisioned = it.analytics("operator", &["provision"]).wait().await;
        assert!(provisioned.expect("it runs").success());
        it.start_analytics().await;
        it
    }

    fn analytics(&self, user: &str, arguments: &[&str]) -> Child {
        let log = std::fs::File::create(self.split.path("analytics.log")).unwrap();
        python()
            .args(["-m", "analytics"])
            .args(arguments)
            .env("PYTHONPATH", root().join("examples/analytics"))
            .env("ANALYTICS_LISTEN", &self.analytics_at)
            .env("ANALYTICS_BANYAN", &self.split.url)
            .env("ANALYTICS_SECRET_FILE", self.split.path("analytics.secret"))
            .env("ANALYTICS_NATS", self.split.nats.url())
            .env("ANALYTICS_NATS_USER", user)
            .env(
                "ANALYTICS_NATS_PASSWORD_FILE",
                self.split.password_file(user),
            )
            .env("ANALYTICS_DATABASE", self.split.path("analytics.db"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("scripts/install-analytics.sh was run")
    }

    pub async fn start_analytics(&mut self) {
        self.analytics = Some(self.analytics("analytics", &[]));
        let health = format!("http://{}/healthz", self.analytics_at);
        until("analytics answers", async || {
            let answer = self.http.get(&health).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, String) {
        let mut request = self.http.get(format!("{}{path}", self.split.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("a text"))
    }

    async fn login(&self, email: &str) -> String {
        let body = json!({ "email": email, "password": PASSWORD });
        let login = format!("{}/api/v1/auth/login", self.split.url);
        let answer = self.http.post(login).json(&body).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        let tokens: Value = answer.json().await.expect("JSON");
        tokens["access_token"].as_str().expect("a token").to_owned()
    }

    /// An access token of somebody new.
    pub async fn sign_up(&self, email: &str) -> String {
        insist(&self.split.url, email).await;
        self.login(email).await
    }

    pub async fn admin(&self) -> String {
        let mut create = self.split.command("identity");
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
        self.login("root@example.com").await
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
        let log = std::fs::read_to_string(self.split.path("nats.log")).unwrap();
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
