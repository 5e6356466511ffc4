//! `banyan service create`: a service and its secret, which is shown once.

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use kernel::{Context, db::OnConstraint};

use super::{id, secret_file};
use crate::{
    domain::{ClientId, DisplayName, Scopes, ServiceSecret},
    services,
    store::{
        self,
        services::{NewService, Service},
    },
};

pub(super) const NAME: &str = "create";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Makes a service, and shows its secret this once")
        .arg(super::id_argument())
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .required(true)
                .help("What people call it"),
        )
        .arg(
            Arg::new("scope")
                .long("scope")
                .value_name("SCOPE")
                .action(ArgAction::Append)
                .required(true)
                .help("What its tokens allow; may be given several times"),
        )
        .arg(super::secret_file_argument(
            "Keeps the secret in FILE, which only its owner can read, in place of printing it; \
             given again with the same FILE, the command changes nothing",
        ))
}

pub(super) async fn run(context: Context, arguments: &ArgMatches) -> anyhow::Result<()> {
    let client_id = id(arguments)?;
    let name = arguments.get_one::<String>("name");
    let display_name = DisplayName::parse(name.context("--name is required")?)
        .map_err(|invalid| anyhow::anyhow!("--name {invalid}"))?;
    let scopes = arguments.get_many::<String>("scope").unwrap_or_default();
    let scopes = Scopes::parse(scopes.map(String::as_str))
        .map_err(|invalid| anyhow::anyhow!("--scope {invalid}"))?;
    let file = secret_file(arguments);

    let mut tx = context.db.begin().await?;
    if let Some(service) = store::services::lock(&mut tx, &client_id).await? {
        let kept = file
            .map(|file| super::secret_file::read(file))
            .transpose()?;
        return is_the_same(&service, &client_id, &scopes, kept.flatten().as_ref());
    }
    // The file first: the secret of a service that is there must be somewhere. What an interrupted
    // try left in the file is taken up.
    let secret = ServiceSecret::random(&context.world);
    let secret = match file {
        Some(file) => super::secret_file::write_new(file, secret)?,
        None => secret,
    };
    let service = NewService {
        client_id: &client_id,
        display_name: display_name.as_str(),
        scopes: &scopes,
        secret: &secret,
    };
    let registered = services::register(&mut tx, &service, context.world.now()).await;
    let registered = registered.on_constraint("services_secret_digest_key", || {
        anyhow::anyhow!("--secret-file holds the secret of another service: name another file")
    })?;
    if !registered {
        let made = store::services::lock(&mut tx, &client_id).await?;
        let made = made.context("services are never deleted")?;
        return is_the_same(&made, &client_id, &scopes, file.map(|_| &secret));
    }
    tx.commit().await?;
    let client_id = client_id.as_str();
    match file {
        Some(file) => println!(
            "Created the service {client_id}. Its secret is in {}.",
            file.display()
        ),
        None => {
            println!("{}", secret.expose());
            eprintln!("Created the service {client_id}. The secret above is not shown again.");
        }
    }
    Ok(())
}

/// There is a service of that id: is it the one that was asked for, and its secret at hand?
fn is_the_same(
    service: &Service,
    client_id: &ClientId,
    scopes: &Scopes,
    kept: Option<&ServiceSecret>,
) -> anyhow::Result<()> {
    let client_id = client_id.as_str();
    ensure!(
        service.disabled_at.is_none(),
        "the service {client_id} is disabled, and its id is not used again: choose another"
    );
    if !kept.is_some_and(|secret| secret.matches(&service.secret_digest)) {
        bail!(
            "there is a service {client_id} already, and its secret cannot be shown again: \
             `banyan service rotate {client_id}` gives it a new one, with --secret-file FILE in a \
             file"
        );
    }
    ensure!(
        service.scopes == scopes.as_slice(),
        "the service {client_id} has the scopes {}: disable it and make another to change them",
        service.scopes.join(" ")
    );
    println!("The service {client_id} is there, and the file holds its secret. Nothing changed.");
    Ok(())
}
