//! The real program on a warm database: how soon it is ready, and what it takes at rest.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use crate::{
    Place,
    program::{self, free_addresses, resident_mib},
    sign_up::sign_up,
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
        let [address] = free_addresses();
        let program = program::banyan()?;
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
            .env("BANYAN__SERVER__OPERATIONS_LISTEN", "127.0.0.1:0")
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
        let url = format!("http://{}/health/ready", self.address);
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
        // PostgreSQL runs beside it.
        "memory of the host, idle",
        resident_mib(banyan.child.id().context("it runs")?)?,
        "MiB",
        Some(Aim::AtMost(40.0)),
    );
    let account = sign_up(&reqwest::Client::new(), &banyan.address, EMAIL).await?;
    (banyan.access_token, banyan.user_id) = (account.access_token, account.user_id);
    Ok(banyan)
}
