//! `banyan audit`: what an operator does with the audit trail.

pub(crate) mod verify;

use anyhow::Context as _;
use std::sync::Arc;

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command, value_parser};
use kernel::{Context, Verb, module::RunVerb};

use crate::{domain::chain::Checkpoint, store};

pub(crate) fn verbs() -> Vec<Verb> {
    vec![Verb {
        command: command(),
        run: Arc::new(Audit),
    }]
}

fn command() -> Command {
    let seq = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("SEQ")
            .value_parser(value_parser!(i64).range(1..))
            .help(help)
    };
    Command::new("audit")
        .about("Looks after the audit trail")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("head")
                .about("Prints the end of the chain as SEQ:HASH, to be kept elsewhere"),
        )
        .subcommand(
            Command::new("verify")
                .about("Recomputes the chain of hashes and names the first entry that is wrong")
                .arg(seq(
                    "from",
                    "First entry; the one before it is taken on trust [default: 1]",
                ))
                .arg(seq("to", "Last entry [default: the end of the chain]"))
                .arg(
                    Arg::new("expect")
                        .long("expect")
                        .value_name("SEQ:HASH")
                        .value_parser(value_parser!(Checkpoint))
                        .help(
                            "What `audit head` printed earlier: only this shows that the tail was \
                             cut off, or the whole chain rewritten",
                        ),
                ),
        )
}

/// Entries between two words on how far it has come.
const PROGRESS_EVERY: i64 = 500_000;

struct Audit;

#[async_trait]
impl RunVerb for Audit {
    async fn run(&self, context: Context, arguments: &ArgMatches) -> anyhow::Result<()> {
        match arguments.subcommand() {
            Some(("head", _)) => {
                let mut conn = context.db.pool().acquire().await?;
                let ends = store::audit::ends(&mut conn).await?;
                println!("{}", ends.context("the head of the chain is missing")?.head);
            }
            Some(("verify", arguments)) => {
                let scope = verify::Scope {
                    from: arguments.get_one("from").copied().unwrap_or(1),
                    to: arguments.get_one("to").copied(),
                    expected: arguments.get_one("expect").copied(),
                };
                let progress = |done, of| {
                    if done % PROGRESS_EVERY == 0 {
                        eprintln!("{done} of {of} entries verified");
                    }
                };
                let verified = verify::verify(context.db.pool(), scope, progress).await?;
                println!(
                    "verified {} entries, head {}; {} have no content (erased)",
                    verified.entries, verified.head, verified.erased
                );
            }
            _ => unreachable!("clap requires one of the subcommands"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        command().debug_assert();
        let parse = |line: &str| command().try_get_matches_from(line.split(' '));
        assert!(parse("audit verify --from 5 --to 9").is_ok());
        assert!(parse(&format!("audit verify --expect 1:{}", "0f".repeat(32))).is_ok());
        assert!(parse("audit head").is_ok());
        for bad in [
            "audit",
            "audit verify --from 0",
            "audit verify --expect 1:xyz",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
