//! `banyan service …`.

mod create;
mod disable;
mod list;
mod rotate;
mod secret_file;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command, value_parser};
use kernel::{Context, Verb, module::RunVerb};

use crate::domain::ClientId;

pub(super) fn verb() -> Verb {
    let command = Command::new("service")
        .about("Services: programs that sign in with a secret of their own")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(create::command())
        .subcommand(list::command())
        .subcommand(rotate::command())
        .subcommand(disable::command());
    Verb {
        command,
        run: Arc::new(Service),
    }
}

struct Service;

#[async_trait]
impl RunVerb for Service {
    async fn run(&self, context: Context, arguments: &ArgMatches) -> anyhow::Result<()> {
        match arguments.subcommand() {
            Some((create::NAME, arguments)) => create::run(context, arguments).await,
            Some((list::NAME, _)) => list::run(context).await,
            Some((rotate::NAME, arguments)) => rotate::run(context, arguments).await,
            Some((disable::NAME, arguments)) => disable::run(context, arguments).await,
            _ => anyhow::bail!("service needs one of its subcommands"),
        }
    }
}

fn id_argument() -> Arg {
    Arg::new("id")
        .value_name("ID")
        .required(true)
        .help("Its client id: lower-case letters, digits and dashes")
}

fn id(arguments: &ArgMatches) -> anyhow::Result<ClientId> {
    let id = arguments.get_one::<String>("id");
    let id = id.context("the id of the service is required")?;
    ClientId::parse(id).map_err(|invalid| anyhow::anyhow!("the id of a service {invalid}"))
}

fn secret_file_argument(help: &'static str) -> Arg {
    Arg::new("secret-file")
        .long("secret-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

fn secret_file(arguments: &ArgMatches) -> Option<&PathBuf> {
    arguments.get_one("secret-file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_parse() {
        let command = verb().command;
        command.clone().debug_assert();
        let parses = |words: &[&str]| command.clone().try_get_matches_from(words).is_ok();
        let create = ["service", "create", "edge", "--name", "The edge"];
        assert!(parses(
            &[&create[..], &["--scope", "a", "--scope", "b"]].concat()
        ));
        assert!(parses(
            &[&create[..], &["--scope", "a", "--secret-file", "x"]].concat()
        ));
        assert!(!parses(&create), "a service is for something");
        assert!(parses(&["service", "list"]));
        assert!(parses(&["service", "rotate", "edge"]));
        let overlap =
            |seconds| parses(&["service", "rotate", "edge", "--overlap-seconds", seconds]);
        assert!(overlap("0") && overlap("2592000"));
        assert!(!overlap("-1") && !overlap("2592001") && !overlap("1h"));
        assert!(parses(&["service", "disable", "edge"]));
        assert!(!parses(&["service", "disable"]));
    }
}
