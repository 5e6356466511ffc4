//! `banyan service disable`: it signs in no more, and its tokens are refused.

use anyhow::bail;
use clap::{ArgMatches, Command};
use kernel::Context;

use super::id;
use crate::{services, store};

pub(super) const NAME: &str = "disable";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Disables a service for good: it signs in no more, and its tokens are refused")
        .arg(super::id_argument())
}

pub(super) async fn run(context: Context, arguments: &ArgMatches) -> anyhow::Result<()> {
    let client_id = id(arguments)?;
    let name = client_id.as_str();
    let mut tx = context.db.begin().await?;
    let Some(service) = store::services::lock(&mut tx, &client_id).await? else {
        bail!("there is no service {name}: see `banyan service list`");
    };
    if service.disabled_at.is_some() {
        println!("The service {name} is disabled already. Nothing changed.");
        return Ok(());
    }
    services::disable(&mut tx, &client_id, context.world.now()).await?;
    tx.commit().await?;
    println!("Disabled the service {name}. Running processes refuse its tokens in a moment.");
    Ok(())
}
