//! The real program on a warm database: how soon it is ready, and what it takes at rest.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    Place,
    table::{Aim, Table, median},
};

pub const DATABASE: &str = "bench_banyan";
pub const EMAIL: &str = "ada@example.com";
pub const PASSWORD: &str = "correct horse battery staple";
const STARTS: usize = 5;
const SECRET: &str = "a role secret for the bench, of no use elsewhere";
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub struct Banyan {
    child: Child,
    pub address: String,
    pub access_token: String,
    pub user_id: String,
}

impl Banyan {
    async fn start(place: &Place) -> anyhow::Result<(Self, Duration)> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        drop(listener);
        let program = std::env::current_exe()?.with_file_name("banyan");
        let server = place.server.admin();
        let socket = server
            .get_socket()
            .context("the bench's server has a socket")?;
        let started = Instant::now();
        let child = Command::new(&program)
            .args(["serve", "--listen", &address])
            .env("BANYAN_ENV", "development")
            .env(
                "BANYAN__DATABASE__URL",
                format!("postgres:///{DATABASE}?host={}", socket.display()),
            )
            .env("BANYAN__DATABASE__ROLE_SECRET", SECRET)
            .env("BANYAN__SECRETS__MASTER_KEY", MASTER_KEY)
            .env("BANYAN__SERVER__DATA_DIR", &place.folder)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(place.folder.join("serve.log"))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} starts", program.display()))?;
        let mut banyan = Self {
            child,
            address,
            access_token: String::new(),
            user_id: String::new(),
        };
        banyan.ready().await?;
        Ok((banyan, started.elapsed()))
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let http = reqwest::Client::new();
        let url = self.url("/health/ready");
        let started = Instant::now();
        loop {
            if let Ok(answer) = http.get(&url).send().await
                && answer.status() == 200
            {
                return Ok(());
            }
            ensure!(
                self.child.try_wait()?.is_none(),
                "the program ended: see serve.log"
            );
            ensure!(
                started.elapsed() < Duration::from_secs(60),
                "the program is not ready"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn sign_up(&mut self) -> anyhow::Result<()> {
        let http = reqwest::Client::new();
        let post = async |path: &str, body: Value| -> anyhow::Result<Value> {
            Ok(http
                .post(self.url(path))
                .json(&body)
                .send()
                .await?
                .json()
                .await?)
        };
        let body = json!({ "email": EMAIL, "password": PASSWORD });
        let registration = post("/api/v1/auth/registrations", body).await?;
        let id = registration["id"].as_str().context("an id")?.to_owned();
        let code = loop {
            let mails: Value = http
                .get(self.url("/dev/mailbox/messages"))
                .send()
                .await?
                .json()
                .await?;
            if let Some(text) = mails[0]["text"].as_str() {
                let words = text.split(|c: char| !c.is_ascii_digit());
                break words
                    .into_iter()
                    .find(|w| w.len() == 6)
                    .context("a code")?
                    .to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let path = format!("/api/v1/auth/registrations/{id}/verify");
        let tokens = post(&path, json!({ "code": code })).await?;
        let text = |name: &str| tokens[name].as_str().context("a token").map(str::to_owned);
        (self.access_token, self.user_id) = (text("access_token")?, text("user_id")?);
        // The profile follows by an event; this waits for it.
        let profile = http.get(self.url("/api/v1/profiles/me"));
        let answer = profile.bearer_auth(&self.access_token).send().await?;
        ensure!(
            answer.status() == 200,
            "the profile did not follow: {}",
            answer.status()
        );
        Ok(())
    }

    /// What the host's own process holds, in MiB; PostgreSQL runs beside it.
    fn memory(&self) -> anyhow::Result<f64> {
        let pid = self.child.id().context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1_024.0)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("it runs")?.to_string();
        Command::new("kill").arg(pid).status().await?;
        self.child.wait().await?;
        Ok(())
    }
}

pub async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<Banyan> {
    let modules: Vec<_> = banyan::modules::MODULES.iter().map(|m| m.name()).collect();
    database::prepare(&place.server.admin(), DATABASE, &modules, SECRET.as_bytes()).await?;
    // The first start migrates and makes keys.
    Banyan::start(place).await?.0.stop().await?;
    let mut seconds = Vec::new();
    for _ in 0..STARTS {
        let (banyan, took) = Banyan::start(place).await?;
        seconds.push(took.as_secs_f64());
        banyan.stop().await?;
    }
    table.figure(
        "start to ready, warm database",
        median(&seconds),
        "s",
        Some(Aim::AtMost(0.3)),
    );
    let (mut banyan, _) = Banyan::start(place).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    table.figure(
        "memory of the host, idle",
        banyan.memory()?,
        "MiB",
        Some(Aim::AtMost(40.0)),
    );
    banyan.sign_up().await?;
    Ok(banyan)
}
