//! `banyan user …`.

mod create_admin;
mod list;

use std::sync::Arc;

use async_trait::async_trait;
use clap::{ArgMatches, Command};
use kernel::{Context, Verb, module::RunVerb};

pub(super) fn verb() -> Verb {
    let command = Command::new("user")
        .about("Accounts")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(create_admin::command())
        .subcommand(list::command());
    Verb {
        command,
        run: Arc::new(User),
    }
}

struct User;

#[async_trait]
impl RunVerb for User {
    async fn run(&self, context: Context, arguments: &ArgMatches) -> anyhow::Result<()> {
        match arguments.subcommand() {
            Some((create_admin::NAME, arguments)) => create_admin::run(context, arguments).await,
            Some((list::NAME, _)) => list::run(context).await,
            _ => anyhow::bail!("user needs one of its subcommands"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_parse() {
        let command = verb().command;
        command.clone().debug_assert();
        let parses = |words: &[&str]| command.clone().try_get_matches_from(words).is_ok();
        let create = ["user", "create-admin", "--email", "a@b.c"];
        assert!(parses(&[&create[..], &["--password-stdin"]].concat()));
        assert!(parses(
            &[&create[..], &["--password-stdin", "--display-name", "A"]].concat()
        ));
        assert!(parses(&["user", "list"]));
        // A password has no place among arguments, which every user of the machine can see.
        assert!(!parses(&create));
        assert!(!parses(&[&create[..], &["--password", "x"]].concat()));
        assert!(!parses(&["user"]));
    }
}
