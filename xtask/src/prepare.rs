//! `.sqlx/`: what the checked queries look like to the database, so that builds need none.
//!
//! sqlx's macros write it themselves while they compile against a database and are given a folder
//! (`SQLX_OFFLINE_DIR`); sqlx-cli does no more than this either, and takes longer to install than
//! this takes to run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use embedded::{Options, Server};

use crate::migrations;
use crate::workspace::{Workspace, cargo};

const DATABASE: &str = "prepare";

/// The macros that ask the database.
const MACROS: [&str; 5] = [
    "query!(",
    "query_as!(",
    "query_scalar!(",
    "query_file!(",
    "query_file_as!(",
];

pub(crate) async fn run(check: bool) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let server = Server::open(Options {
        data_dir: workspace.target.join("prepare-database"),
        fsync: false,
        bin_dir: None,
    })
    .await?;
    ensure!(
        server.owned(),
        "another `cargo xtask prepare` is at work; wait for it"
    );
    let modules = migrations::modules(&workspace.root)?;
    let failed = migrations::rebuild(&server, DATABASE, &modules).await?;
    ensure!(failed == 0, "the migrations have to run first");

    // Beside the real one, so that a failed build leaves that alone.
    let fresh = workspace.target.join("prepare-queries");
    match fs::remove_dir_all(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("cannot empty {}", fresh.display()));
        }
        _ => fs::create_dir_all(&fresh)?,
    }
    let url = migrations::url(&server, DATABASE);
    let outcome = compile(&workspace, &url, &fresh);
    server.stop().await?;
    outcome?;

    let committed = workspace.root.join(".sqlx");
    let differences = compare(&read(&committed)?, &read(&fresh)?);
    if check {
        ensure!(
            differences.is_empty(),
            "run `cargo xtask prepare` and commit .sqlx/; it differs:\n{}",
            differences
                .iter()
                .map(|(name, change)| format!("  {name}: {change}\n"))
                .collect::<String>()
        );
        println!(".sqlx/ is as it should be");
        return Ok(());
    }
    fs::create_dir_all(&committed)?;
    for (name, change) in &differences {
        let file = committed.join(name);
        match change {
            Change::Stale => fs::remove_file(&file)?,
            Change::Missing | Change::Different => {
                fs::copy(fresh.join(name), &file)?;
            }
        }
    }
    println!("{} files of .sqlx/ changed", differences.len());
    Ok(())
}

/// Has every macro of the workspace run.
fn compile(workspace: &Workspace, url: &str, fresh: &Path) -> anyhow::Result<()> {
    // Cargo does not see that the environment of the macros changed, but it sees a newer file. The
    // old times are put back, or the next build of any kind would begin from these files again.
    let sources = sources(&workspace.root)?;
    let touched = Touched::touch(sources)?;
    let status = cargo()
        .args(["check", "--quiet", "--workspace", "--all-targets"])
        .current_dir(&workspace.root)
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", fresh)
        .status()
        .context("cannot run cargo check")?;
    drop(touched);
    if !status.success() {
        bail!("the workspace does not compile");
    }
    Ok(())
}

/// The files of the workspace that hold checked queries.
fn sources(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    let mut folders = ["src", "crates", "modules", "tests"]
        .map(|name| root.join(name))
        .into_iter()
        .filter(|folder| folder.is_dir())
        .collect::<Vec<_>>();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension() == Some(OsStr::new("rs")) {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                if MACROS.iter().any(|name| text.contains(name)) {
                    sources.push(path);
                }
            }
        }
    }
    Ok(sources)
}

/// Files that look changed for as long as this lives.
struct Touched {
    now: SystemTime,
    files: Vec<(File, SystemTime)>,
}

impl Touched {
    #[expect(
        clippy::disallowed_methods,
        reason = "Cargo compares files with the real time"
    )]
    fn touch(paths: Vec<PathBuf>) -> anyhow::Result<Self> {
        let now = SystemTime::now();
        let mut touched = Self {
            now,
            files: Vec::new(),
        };
        for path in paths {
            let file = File::options()
                .append(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            let before = file.metadata()?.modified()?;
            file.set_modified(now)?;
            touched.files.push((file, before));
        }
        Ok(touched)
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        for (file, before) in &self.files {
            let modified = file.metadata().and_then(|meta| meta.modified());
            // Somebody may have edited it since. Left touched, it is only compiled once too often.
            if modified.is_ok_and(|modified| modified == self.now) {
                let _ = file.set_modified(*before);
            }
        }
    }
}

enum Change {
    Missing,
    Stale,
    Different,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "not committed",
            Self::Stale => "belongs to no query",
            Self::Different => "the database describes it otherwise",
        })
    }
}

fn read(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", dir.display())),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") && name.ends_with(".json") {
            files.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(files)
}

fn compare(
    committed: &BTreeMap<String, Vec<u8>>,
    fresh: &BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (name, content) in fresh {
        match committed.get(name) {
            None => changes.insert(name.clone(), Change::Missing),
            Some(old) if old != content => changes.insert(name.clone(), Change::Different),
            Some(_) => None,
        };
    }
    for name in committed.keys().filter(|name| !fresh.contains_key(*name)) {
        changes.insert(name.clone(), Change::Stale);
    }
    changes
}
