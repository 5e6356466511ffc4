//! What is looked at before anything is changed, and what is said then.

use anyhow::{bail, ensure};
use url::Url;

use super::{
    end::{End, Facts},
    report,
    tables::Table,
};
use crate::app::App;

/// The oldest PostgreSQL that Banyan runs on, as the server numbers it.
const OLDEST_SERVER: i32 = 150_000;
/// Clocks that differ more let leases and mails come early or late.
const CLOCKS_APART_SECONDS: f64 = 5.0;

/// Only where the database is: as whom a module signs in is derived, and a command line is read by others.
pub(super) fn is_a_place(to: &str) -> anyhow::Result<()> {
    if to.is_empty() {
        return Ok(());
    }
    let url = Url::parse(to).ok();
    let url = url.filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let Some(url) = url.filter(|url| url.path().len() > 1) else {
        bail!("--to is written postgres://host:port/database, or \"default\"");
    };
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "--to has no user and no password: each module signs in as its own role, with a password that is \
         derived from database.role_secret"
    );
    Ok(())
}

/// What an embedded database's folder kept must be said by configuration, once there is another.
pub(super) fn needs_kept_secrets(app: &App, to: &str) -> anyhow::Result<()> {
    let host = &app.config.host;
    let given = [&host.database.role_secret, &host.secrets.master_key];
    if to.is_empty() || given.iter().all(|secret| !secret.expose().is_empty()) {
        return Ok(());
    }
    let folder = std::path::absolute(host.server.data_dir.join("secrets"))?;
    let folder = folder.display();
    bail!(
        "a module with a database of its own needs these in the configuration, with the values that \
         the embedded database was made with:\n\n    [database]\n    role_secret_file = \
         \"{folder}/role_secret\"\n\n    [secrets]\n    master_key_file = \"{folder}/master_key\""
    )
}

pub(super) fn prepare_hint(to: &str) -> String {
    let database = to.rsplit('@').next().unwrap_or_default();
    let database = database.strip_prefix("postgres://").unwrap_or(database);
    format!(
        "the target is not ready; if its roles are missing, prepare it with this configuration: banyan \
         database prepare --admin-url 'postgres://ADMINISTRATOR@{database}'"
    )
}

/// What has to be right before anything is changed.
pub(super) fn check(source: &Facts, target: &Facts) -> anyhow::Result<()> {
    ensure!(
        target.is_prepared,
        "the target has no such schema, or it belongs to another role"
    );
    ensure!(
        target.version_number >= OLDEST_SERVER,
        "the target is PostgreSQL {}: 15 is the oldest that will do",
        target.version
    );
    ensure!(
        source.encoding == target.encoding,
        "the target's encoding is {}, the source's {}",
        target.encoding,
        source.encoding
    );
    Ok(())
}

/// Says what is about to be done.
pub(super) fn show(
    (source, here): (&End, &Facts),
    (target, there): (&End, &Facts),
    tables: &[Table],
    sequences: usize,
    replaces: bool,
) {
    let rows: i64 = tables.iter().map(|table| table.rows).sum();
    eprintln!("Move {}", source.module);
    eprintln!("  from {} (PostgreSQL {})", source.name, here.version);
    eprintln!("  to   {} (PostgreSQL {})", target.name, there.version);
    eprintln!(
        "  {} tables, {sequences} sequences, about {} rows; {} on disk, which the target needs as well",
        tables.len(),
        report::number(rows.unsigned_abs()),
        report::bytes(here.bytes.unsigned_abs()),
    );
    if there.version_number / 10_000 < here.version_number / 10_000 {
        eprintln!("  NOTE: the target's PostgreSQL is older");
    }
    let apart = (here.clock - there.clock).abs();
    if apart > CLOCKS_APART_SECONDS {
        eprintln!("  NOTE: the servers' clocks are {apart:.0} s apart: mend that first");
    }
    if replaces {
        eprintln!(
            "  NOTE: an old copy of the module's data is at the target, and will be REPLACED"
        );
    }
}
