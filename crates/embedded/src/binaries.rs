//! Finding the server's programs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::place::Place;
use crate::supervisor;

/// The oldest major version that the SQL of this product is written for.
pub(crate) const OLDEST: u32 = 15;

/// A folder with `postgres` and `initdb`.
#[derive(Debug)]
pub(crate) struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    pub(crate) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// Programs of the version that made the cluster, if it exists; otherwise the first found.
    pub(crate) fn find(asked: Option<&Path>, place: &Place) -> Result<Self, Error> {
        let wanted = place.cluster_version()?;

        let asked = asked
            .map(Path::to_owned)
            .or_else(|| std::env::var_os("BANYAN_POSTGRES_BIN").map(PathBuf::from))
            .filter(|dir| !dir.as_os_str().is_empty());
        let candidates: Box<dyn Iterator<Item = PathBuf>> = match &asked {
            Some(dir) => Box::new(std::iter::once(dir.clone())),
            None => Box::new(discover()),
        };

        let mut unfit = None;
        let mut seen = HashSet::new();
        for dir in candidates {
            // Several names often lead to one installation: /usr/bin/postgres is mostly a link.
            let Ok(dir) = fs::canonicalize(&dir) else {
                continue;
            };
            let binaries = Self { dir };
            if !binaries.initdb().is_file() || !seen.insert(binaries.dir.clone()) {
                continue;
            }
            let Some(version) = binaries.version(place) else {
                continue;
            };
            match wanted {
                Some(wanted) if wanted == version => return Ok(binaries),
                None if version >= OLDEST => return Ok(binaries),
                _ => {
                    unfit.get_or_insert((version, binaries.dir));
                }
            }
        }

        Err(match (unfit, wanted, asked) {
            (Some((found, bin_dir)), Some(cluster), _) => Error::OtherVersion {
                place: place.dir().to_owned(),
                cluster,
                found,
                bin_dir,
            },
            (Some((found, bin_dir)), None, _) => Error::TooOld { bin_dir, found },
            (None, _, Some(dir)) => Error::NoPrograms { dir },
            (None, _, None) => Error::NotInstalled,
        })
    }

    /// The major version, asked of the program itself and as the user that will run it; `None` when
    /// it cannot be run.
    fn version(&self, place: &Place) -> Option<u32> {
        let output = supervisor::command(&self.postgres(), place.user())
            .arg("--version")
            .output()
            .ok()?;
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "… 18beta1"
        let text = String::from_utf8(output.stdout).ok()?;
        let number = text.split_whitespace().nth(2)?;
        let digits = number.find(|c: char| !c.is_ascii_digit());
        number[..digits.unwrap_or(number.len())].parse().ok()
    }
}

/// Folders that may hold the programs, best first; lazy, since the first is mostly the one.
fn discover() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .filter_map(|dir| fs::canonicalize(dir.join("postgres")).ok())
        .filter_map(|program| program.parent().map(Path::to_owned))
        .collect::<Vec<_>>();

    on_path
        .into_iter()
        .chain(std::iter::once_with(pg_config).flatten())
        .chain(
            [
                // Debian and Ubuntu; Fedora's and the PostgreSQL project's packages; Alpine; SUSE
                ("/usr/lib/postgresql", "", "bin"),
                ("/usr", "pgsql-", "bin"),
                ("/usr/libexec", "postgresql", ""),
                ("/usr/lib", "postgresql", "bin"),
                // Homebrew on Apple silicon, on Intel, on Linux
                ("/opt/homebrew/opt", "postgresql@", "bin"),
                ("/usr/local/opt", "postgresql@", "bin"),
                ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
            ]
            .into_iter()
            .flat_map(|(parent, prefix, below)| versions(Path::new(parent), prefix, below)),
        )
}

/// What the first `pg_config` on `PATH` says. On Debian it belongs to the client library and may
/// name a folder without a server in it.
fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(dir.trim_end()))
}

/// The folders `parent/<prefix><version>/<below>`, newest version first.
fn versions(parent: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let mut found = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            Some((version, entry.path().join(below)))
        })
        .collect::<Vec<_>>();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}
