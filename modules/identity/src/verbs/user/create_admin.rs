//! `banyan user create-admin`: makes an administrator, or makes somebody one.

use std::io::Read;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use kernel::{Context, Db, Secret};
use zeroize::Zeroizing;

use crate::{
    config::Config,
    domain::{ADMIN, DisplayName, Email, Invalid, Password},
    events::RoleGranted,
    passwords::Passwords,
    setup::{self, NewAdmin},
    store::{self, users::Grant},
};

pub(super) const NAME: &str = "create-admin";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Makes an account with the role admin; an account that exists gets the role")
        .arg(
            Arg::new("email")
                .long("email")
                .value_name("ADDRESS")
                .required(true)
                .help("Address to sign in with; it is not asked to prove itself"),
        )
        .arg(
            Arg::new("password-stdin")
                .long("password-stdin")
                .action(ArgAction::SetTrue)
                .required(true)
                .help("Reads the password from standard input, up to the end of the line"),
        )
        .arg(
            Arg::new("display-name")
                .long("display-name")
                .value_name("NAME")
                .help("Name to be shown"),
        )
}

pub(super) async fn run(context: Context, arguments: &ArgMatches) -> anyhow::Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name);
    let email = text("email").context("--email is required")?;
    let email = Email::parse(email).map_err(|invalid| wrong("--email", invalid))?;
    let display_name = text("display-name")
        .map(|name| DisplayName::parse(name))
        .transpose()
        .map_err(|invalid| wrong("--display-name", invalid))?;

    let config = Config::read(&context.config)?;
    // Somebody who has an account keeps their password: only the role is given.
    if grant(&context.db, &email).await? {
        return Ok(());
    }
    let words = [
        Some(email.as_str()),
        display_name.as_ref().map(DisplayName::as_str),
    ];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    let password = tokio::task::spawn_blocking(read_password).await??;
    let password =
        Password::parse(&password, &words).map_err(|invalid| wrong("the password", invalid))?;
    let passwords = Passwords::new(context.world.clone(), config.hash_cost, 1, 1);
    let admin = NewAdmin {
        email,
        password_hash: passwords.hash(passwords.reserve()?, password).await?,
        display_name,
    };

    let now = context.world.now();
    let mut tx = context.db.begin().await?;
    let created = setup::create_admin(&mut tx, &context.world, &config, &admin, now).await?;
    let Some(user_id) = created else {
        // Registered in the time that hashing took.
        drop(tx);
        anyhow::ensure!(
            grant(&context.db, &admin.email).await?,
            "the account is gone"
        );
        return Ok(());
    };
    store::setup_codes::revoke(&mut tx).await?;
    tx.commit().await?;
    println!(
        "Created the administrator {} ({user_id}).",
        admin.email.as_str()
    );
    Ok(())
}

/// False when nobody has the address.
async fn grant(db: &Db, email: &Email) -> anyhow::Result<bool> {
    let mut tx = db.begin().await?;
    let email_text = email.as_str();
    match store::users::grant_role(&mut tx, email, ADMIN).await? {
        Grant::NoSuchUser => return Ok(false),
        Grant::AlreadyHeld(user_id) => {
            println!("{email_text} ({user_id}) is an administrator already. Nothing changed.");
        }
        Grant::Granted(user_id) => {
            tx.publish(&RoleGranted {
                user_id,
                role: ADMIN.to_owned(),
            });
            store::setup_codes::revoke(&mut tx).await?;
            tx.commit().await?;
            println!(
                "{email_text} ({user_id}) had an account and is an administrator now. \
                 The password stays as it was."
            );
        }
    }
    Ok(true)
}

fn read_password() -> anyhow::Result<Secret> {
    // One more than may be, so that a longer one is refused and not cut.
    let limit = Password::MAX_BYTES as u64 + 3;
    let mut text = Zeroizing::new(String::with_capacity(Password::MAX_BYTES + 4));
    std::io::stdin()
        .lock()
        .take(limit)
        .read_to_string(&mut text)
        .context("the password cannot be read from standard input")?;
    let line = text.split('\n').next().unwrap_or_default();
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

fn wrong(what: &str, invalid: Invalid) -> anyhow::Error {
    anyhow::anyhow!("{what} {invalid}")
}
