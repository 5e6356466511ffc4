//! `banyan service rotate`: a new secret, beside the one before for a while.

use anyhow::{bail, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use kernel::Context;
use time::{Duration, format_description::well_known::Rfc3339};

use super::{id, secret_file};
use crate::{domain::ServiceSecret, services, store};

pub(super) const NAME: &str = "rotate";

/// 30 days: longer than that, there simply are two secrets.
const MAX_OVERLAP_SECONDS: i64 = 30 * 86_400;

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Gives a service a new secret; the one before stays good for a while")
        .arg(super::id_argument())
        .arg(
            Arg::new("overlap-seconds")
                .long("overlap-seconds")
                .value_name("SECONDS")
                .value_parser(value_parser!(i64).range(0..=MAX_OVERLAP_SECONDS))
                .default_value("86400")
                .help(
                    "How long the secret before stays good, up to 2592000; 0 when it has leaked: \
                     then tokens that were issued so far are refused, too",
                ),
        )
        .arg(super::secret_file_argument(
            "Writes the new secret to FILE, which only its owner can read, in place of what it \
             holds; without it the secret is printed",
        ))
}

pub(super) async fn run(context: Context, arguments: &ArgMatches) -> anyhow::Result<()> {
    let client_id = id(arguments)?;
    let name = client_id.as_str();
    let seconds = arguments.get_one::<i64>("overlap-seconds").copied();
    let overlap = Duration::seconds(seconds.unwrap_or_default());

    let mut tx = context.db.begin().await?;
    let Some(service) = store::services::lock(&mut tx, &client_id).await? else {
        bail!("there is no service {name}: see `banyan service list`");
    };
    ensure!(
        service.disabled_at.is_none(),
        "the service {name} is disabled"
    );
    let secret = ServiceSecret::random(&context.world);
    let now = context.world.now();
    services::rotate_secret(&mut tx, &client_id, &secret, overlap, now).await?;
    // Before the commit: if the file cannot be written, nothing has changed.
    if let Some(file) = secret_file(arguments) {
        super::secret_file::replace(file, &secret)?;
    }
    tx.commit().await?;

    match secret_file(arguments) {
        Some(file) => println!("The new secret of {name} is in {}.", file.display()),
        None => println!("{}", secret.expose()),
    }
    if overlap.is_zero() {
        eprintln!("The secret before and the tokens issued for it are good no longer.");
    } else {
        let until = (now + overlap).format(&Rfc3339)?;
        eprintln!("The secret before stays good until {until}.");
    }
    Ok(())
}
