//! `banyan user list`: every account, oldest first, a line each.

use clap::Command;
use kernel::Context;
use time::format_description::well_known::Rfc3339;

use crate::store;

pub(super) const NAME: &str = "list";

const PAGE: i64 = 500;

pub(super) fn command() -> Command {
    Command::new(NAME).about("Shows id, address, roles and time of registration of every account")
}

pub(super) async fn run(context: Context) -> anyhow::Result<()> {
    let mut conn = context.db.pool().acquire().await?;
    let mut after = None;
    loop {
        let users = store::users::page(&mut conn, after, PAGE).await?;
        let Some(last) = users.last() else {
            return Ok(());
        };
        after = Some(last.user_id);
        for user in users {
            println!(
                "{}\t{}\t{}\t{}",
                user.user_id,
                user.email,
                user.roles.join(","),
                user.registered_at.format(&Rfc3339)?
            );
        }
    }
}
