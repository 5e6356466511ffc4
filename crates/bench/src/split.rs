//! A gateway and modules as processes of their own, started as scripts/split.sh does: each with its
//! folder, and all but the gateway with its own PostgreSQL.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use nats_server::{NatsServer, users};
use serde_json::Value;

use crate::{
    program::{self, Program, free_addresses},
    shop::broker,
};

/// In the order of their start.
pub const MODULES: [&str; 4] = ["identity", "profile", "notification", "logging"];
/// 32 bytes, as `secrets.sealing_key` wants them.
const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/split");

pub struct Split {
    /// Dropped in this order: the gateway first, so that nobody is sent to a module that has gone.
    gateway: Program,
    _modules: Vec<Program>,
    broker: NatsServer,
    /// Where the gateway listens.
    pub address: String,
    folder: PathBuf,
}

impl Split {
    /// With these modules, and `more` in the gateway's configuration.
    pub async fn start(folder: PathBuf, modules: &[&str], more: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join("services"))?;
        std::fs::write(folder.join("sealing_key"), SEALING_KEY)?;
        let configuration = std::fs::read_to_string(format!("{CONFIGURATION}/gateway.toml"))?;
        std::fs::write(folder.join("gateway.toml"), configuration + more)?;
        let rights = std::fs::read_to_string(format!("{CONFIGURATION}/nats.conf"))?;
        let rights = users::configure(&rights, &folder)?;
        let broker = broker(folder.join("nats"), ["-c".into(), rights.into()]).await?;
        let [address, addresses @ ..] = free_addresses::<5>();
        let operations = free_addresses::<4>();

        let command = |name: &str| -> anyhow::Result<Command> {
            let mut command = command(&folder, name, &broker)?;
            command.env("BANYAN__SERVER__PUBLIC_URL", format!("http://{address}"));
            Ok(command)
        };
        run(command("identity")?.arg("migrate"))?;
        let serves = |name: &str| -> anyhow::Result<Command> {
            let mut serve = command(name)?;
            if name != "logging" && modules.contains(&"logging") {
                let file = folder.join("services").join(name);
                create_service(
                    command("identity")?,
                    name,
                    &["logs:write", "logs:write:internal"],
                    &file,
                )?;
                serve.env("BANYAN__SERVICE__ID", name);
                serve.env("BANYAN__SERVICE__SECRET_FILE", file);
            }
            serve.arg("serve");
            Ok(serve)
        };
        let mut gateway = serves("gateway")?;
        let mut running = Vec::new();
        for ((name, at), internal) in MODULES.into_iter().zip(&addresses).zip(&operations) {
            let section = format!("BANYAN__MODULES__{}", name.to_uppercase());
            let place = format!("{section}__AT");
            if !modules.contains(&name) {
                gateway.env(place, "elsewhere");
                continue;
            }
            gateway.env(place, format!("http://{at}"));
            gateway.env(
                format!("{section}__INTERNAL_AT"),
                format!("http://{internal}"),
            );
            let mut serve = serves(name)?;
            serve.args(["--listen", at]);
            serve.env("BANYAN__SERVER__OPERATIONS_LISTEN", internal);
            let mut module = Program::start(&mut serve, folder.join(format!("{name}.log")))?;
            module
                .answers(&format!("http://{at}/health/ready"), |_| true)
                .await?;
            running.push(module);
        }
        gateway.args(["--listen", &address]);
        let mut gateway = Program::start(&mut gateway, folder.join("gateway.log"))?;
        let ready = |text: &str| !text.contains("down");
        gateway
            .answers(&format!("http://{address}/health/ready"), ready)
            .await?;
        Ok(Self {
            gateway,
            _modules: running,
            broker,
            address,
            folder,
        })
    }

    pub fn gateway_pid(&self) -> u32 {
        self.gateway.pid()
    }

    /// An access token of a service that has the scope.
    pub async fn token(&self, scope: &str) -> anyhow::Result<String> {
        let file = self.folder.join("services/bench");
        let mut command = command(&self.folder, "identity", &self.broker)?;
        command.env(
            "BANYAN__SERVER__PUBLIC_URL",
            format!("http://{}", self.address),
        );
        create_service(command, "bench", &[scope], &file)?;
        let secret = std::fs::read_to_string(file)?;
        let answer = reqwest::Client::new()
            .post(format!("http://{}/oauth/token", self.address))
            .basic_auth("bench", Some(secret.trim()))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{status}: {text}");
        let answer: Value = serde_json::from_str(&text)?;
        let token = answer["access_token"].as_str();
        Ok(token.context("an access token")?.to_owned())
    }
}

/// The program as one of the processes, on ports and in folders of the bench.
fn command(folder: &Path, name: &str, broker: &NatsServer) -> anyhow::Result<Command> {
    let file = match name {
        "gateway" => folder.join("gateway.toml"),
        name => PathBuf::from(format!("{CONFIGURATION}/{name}.toml")),
    };
    let mut command = Command::new(program::banyan()?);
    command
        .arg("--config")
        .arg(file)
        .env("BANYAN_ENV", "development")
        .env("BANYAN__LOG__FORMAT", "json")
        .env("BANYAN__SERVER__OPERATIONS_LISTEN", "127.0.0.1:0")
        .env("BANYAN__BUS__NATS__URLS", broker.url())
        .env(
            "BANYAN__BUS__NATS__PASSWORD_FILE",
            users::password_file(folder, name),
        )
        .env("BANYAN__SERVER__DATA_DIR", folder.join(name));
    if ["identity", "notification"].contains(&name) {
        command.env(
            "BANYAN__SECRETS__SEALING_KEY_FILE",
            folder.join("sealing_key"),
        );
    }
    Ok(command)
}

fn create_service(
    mut command: Command,
    id: &str,
    scopes: &[&str],
    secret_file: &Path,
) -> anyhow::Result<()> {
    command.args(["service", "create", id, "--name"]);
    command.arg(format!("The process {id}"));
    for scope in scopes {
        command.args(["--scope", scope]);
    }
    run(command.arg("--secret-file").arg(secret_file))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
