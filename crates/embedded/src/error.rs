use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why the embedded server is not to be had. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no PostgreSQL server programs (postgres and initdb, version {} or later) were found: install them \
         (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; Alpine: \
         apk add postgresql; macOS: brew install postgresql@17), or set BANYAN_POSTGRES_BIN to the folder \
         that holds them, or configure a database_url",
        crate::binaries::OLDEST
    )]
    NotInstalled,

    #[error(
        "there is no usable PostgreSQL in {}: it must hold the programs postgres and initdb, and the user \
         that runs the server must be able to run them; correct BANYAN_POSTGRES_BIN or unset it",
        .dir.display()
    )]
    NoPrograms { dir: PathBuf },

    #[error(
        "the PostgreSQL in {} is version {found}, and version {} or later is needed: install a newer one",
        .bin_dir.display(), crate::binaries::OLDEST
    )]
    TooOld { bin_dir: PathBuf, found: u32 },

    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, but the programs found are of PostgreSQL {found} \
         (in {}): install PostgreSQL {cluster} beside it or point BANYAN_POSTGRES_BIN to it, or move the data \
         with pg_dumpall or pg_upgrade",
        .place.display(), .bin_dir.display()
    )]
    OtherVersion {
        place: PathBuf,
        cluster: u32,
        found: u32,
        bin_dir: PathBuf,
    },

    #[error("{} does not hold a version number, so the cluster beside it is damaged: restore it from a backup, or move its folder away to begin with an empty one", .file.display())]
    UnreadableVersion { file: PathBuf },

    #[error("the superuser's password file {} is missing or empty although the cluster exists: restore it from a backup", .file.display())]
    PasswordLost { file: PathBuf },

    #[error("{} is not empty and holds no cluster: give the embedded PostgreSQL a folder of its own", .dir.display())]
    Occupied { dir: PathBuf },

    #[error(
        "the cluster in {} cannot be used, since {user} cannot enter {}: let that user in (chmod o+x), or move \
         the data folder elsewhere",
        .place.display(), .barrier.display()
    )]
    NotEnterable {
        place: PathBuf,
        barrier: PathBuf,
        user: String,
    },

    #[error(
        "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody to run it as: create one (useradd --system postgres), or start this program as an ordinary user"
    )]
    NoUser,

    #[error("{} belongs to {owner}, not to {user} that this program runs as: start it as {owner}, or choose another data folder", .dir.display())]
    NotOurs {
        dir: PathBuf,
        owner: String,
        user: String,
    },

    #[error("no private folder for the server's socket: {} is too long for a socket path ({limit} bytes at most), and none of {tried} could be made; choose a shorter data folder", .path.display())]
    SocketPath {
        path: PathBuf,
        limit: usize,
        tried: String,
    },

    #[error("cannot run {}: {source}", .program.display())]
    Run { program: PathBuf, source: io::Error },

    #[error("initdb failed ({status}): {output}")]
    Initdb { status: ExitStatus, output: String },

    #[error("the PostgreSQL server does not stay up ({status}): {output}")]
    Start { status: ExitStatus, output: String },

    #[error(
        "the PostgreSQL server left by an earlier process (pid {pid}) does not end: end it by hand, then start again"
    )]
    Orphan { pid: i32 },

    #[error("{what} {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("cannot start the thread that watches the PostgreSQL server: {0}")]
    Thread(io::Error),

    #[error("the thread that watches the PostgreSQL server has ended; its panic is in the log")]
    Supervisor,

    #[error("stopped while opening")]
    Stopped,
}

/// For `map_err` on file operations: what was tried, and on which path.
pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io {
        what,
        path: path.to_owned(),
        source,
    }
}
