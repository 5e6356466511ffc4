//! The server process as other processes see it: its pid file, and who really bears that pid.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;
use crate::error::io;

/// What `postmaster.pid` says (see `src/include/utils/pidfile.h` of PostgreSQL).
#[derive(Debug)]
pub(crate) struct PidFile {
    pub(crate) pid: i32,
    pub(crate) socket_dir: PathBuf,
    pub(crate) ready: bool,
}

impl PidFile {
    pub(crate) fn path(cluster: &Path) -> PathBuf {
        cluster.join("postmaster.pid")
    }

    /// `None` when there is none, or none with a process in it yet.
    pub(crate) fn read(cluster: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(cluster);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io("cannot read", &path)(e)),
        };
        let lines = text.lines().collect::<Vec<_>>();
        let line = |number: usize| lines.get(number - 1).map_or("", |line| line.trim());
        // A single-user backend writes its pid negated.
        let Ok(pid) = line(1).parse::<i32>() else {
            return Ok(None);
        };
        Ok(Some(Self {
            pid: pid.abs(),
            socket_dir: PathBuf::from(line(5)),
            ready: line(8) == "ready",
        }))
    }
}

/// Who bears the pid of a pid file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// A PostgreSQL server on this very cluster.
    Server,
    /// Some other process: pids are used again, in containers after every restart.
    Stranger,
    /// Nobody.
    Gone,
}

#[cfg(target_os = "linux")]
pub(crate) fn bearer(pid: i32, cluster: &Path) -> Bearer {
    let process = PathBuf::from(format!("/proc/{pid}"));
    if !process.exists() {
        return Bearer::Gone;
    }
    let server = match (
        fs::read_link(process.join("exe")),
        fs::read_link(process.join("cwd")),
    ) {
        (Ok(exe), Ok(cwd)) => {
            // An upgraded package makes it "postgres (deleted)".
            let program = exe.file_name().unwrap_or_default().to_string_lossy();
            program.starts_with("postgres") && fs::canonicalize(cluster).is_ok_and(|c| c == cwd)
        }
        // Root without CAP_SYS_PTRACE, as in a container, may not see where another user's process
        // is. Its command line is public, and the server is always started with `-D <cluster>`.
        (Err(e), _) | (_, Err(e)) if e.kind() == ErrorKind::PermissionDenied => {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let words = line.split(|byte| *byte == 0).collect::<Vec<_>>();
            names_server(&words, cluster)
        }
        // A zombie has neither link.
        _ => false,
    };
    if server {
        Bearer::Server
    } else {
        Bearer::Stranger
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn bearer(pid: i32, cluster: &Path) -> Bearer {
    if kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH) {
        return Bearer::Gone;
    }
    let line = std::process::Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    // The words of ps are not told apart, so that a path with spaces has to be looked for whole.
    let line = String::from_utf8_lossy(&line);
    if line.contains("postgres") && line.contains(&format!("-D {}", cluster.display())) {
        Bearer::Server
    } else {
        Bearer::Stranger
    }
}

#[cfg(target_os = "linux")]
fn names_server(words: &[&[u8]], cluster: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    words
        .first()
        .is_some_and(|program| program.ends_with(b"postgres"))
        && words
            .windows(2)
            .any(|pair| pair[0] == b"-D" && pair[1] == cluster.as_os_str().as_bytes())
}

/// Ends a server that an earlier process left behind and that nobody watches, and removes a pid
/// file whose pid now belongs to a stranger. To be called by the holder of the host lock only.
pub(crate) fn end_orphan(cluster: &Path) -> Result<(), Error> {
    // Killed together with its process, a server is mostly in the middle of its fast shutdown.
    let escalation = [
        (Signal::SIGINT, Duration::from_secs(60)),
        (Signal::SIGQUIT, Duration::from_secs(10)),
        (Signal::SIGKILL, Duration::from_secs(5)),
    ];
    let mut last = 0;
    for (signal, patience) in escalation {
        let deadline = Instant::now() + patience;
        let mut signalled = false;
        loop {
            let Some(PidFile { pid, .. }) = PidFile::read(cluster)? else {
                return Ok(());
            };
            last = pid;
            match bearer(pid, cluster) {
                Bearer::Server => {
                    if !signalled {
                        tracing::info!(
                            server.pid = pid,
                            signal = signal.as_str(),
                            "ending the server that an earlier process left behind"
                        );
                        // It may have ended since it was looked at; the next look tells.
                        let _ = kill(Pid::from_raw(pid), signal);
                        signalled = true;
                    }
                }
                // The server itself refuses to start while the pid is alive, whoever bears it.
                Bearer::Stranger => {
                    let path = PidFile::path(cluster);
                    tracing::info!(
                        pid,
                        "removing a stale pid file; its pid is another process's now"
                    );
                    return fs::remove_file(&path).map_err(io("cannot remove", &path));
                }
                // Left in place: the server reads from it which shared memory to check for backends
                // that outlived a killed server.
                Bearer::Gone => return Ok(()),
            }
            if Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Err(Error::Orphan { pid: last })
}
