//! `banyan service list`: every service, a line each.

use clap::Command;
use kernel::Context;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::store::{self, services::Service};

pub(super) const NAME: &str = "list";

const PAGE: i64 = 500;

pub(super) fn command() -> Command {
    Command::new(NAME).about("Shows id, name, scopes, time of making and state of every service")
}

pub(super) async fn run(context: Context) -> anyhow::Result<()> {
    let mut conn = context.db.pool().acquire().await?;
    let now = context.world.now();
    let mut after = String::new();
    loop {
        let services = store::services::page(&mut conn, &after, PAGE).await?;
        let Some(last) = services.last() else {
            return Ok(());
        };
        after.clone_from(&last.client_id);
        for service in services {
            println!(
                "{}\t{}\t{}\t{}\t{}",
                service.client_id,
                service.display_name,
                service.scopes.join(","),
                service.created_at.format(&Rfc3339)?,
                state(&service, now)?
            );
        }
    }
}

fn state(service: &Service, now: OffsetDateTime) -> Result<String, time::error::Format> {
    let previous = service.previous_until.filter(|until| *until > now);
    Ok(match (service.disabled_at, previous) {
        (Some(at), _) => format!("disabled {}", at.format(&Rfc3339)?),
        (None, Some(until)) => {
            let until = until.format(&Rfc3339)?;
            format!("active, the secret before is good until {until}")
        }
        (None, None) => "active".to_owned(),
    })
}
