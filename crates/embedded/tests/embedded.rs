//! Real servers, real processes, real kills; as root and as an ordinary user.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embedded::{Error, Options, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid, getpgid};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

/// Generous: the machine that runs the tests may be building at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

const MARK: &str = "create table if not exists marks (id int); insert into marks values (1)";

#[tokio::test]
async fn a_cold_start_makes_a_private_cluster() {
    let scratch = scratch();
    let asked = scratch.path().join("made/on/the/way");
    let server = open(&asked).await;

    assert!(server.owned());
    assert_eq!(server.place(), asked);
    assert_eq!(server.moved_from(), None);
    let mut connection = connect(&server.admin()).await;
    for (setting, expected) in [
        ("listen_addresses", ""),
        ("fsync", "off"),
        ("password_encryption", "scram-sha-256"),
        ("server_encoding", "UTF8"),
        ("data_checksums", "on"),
    ] {
        let value: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(value, expected, "{setting}");
    }

    for (name, mode) in [
        ("", 0o700),
        ("cluster", 0o700),
        ("socket", 0o700),
        ("password", 0o600),
        ("host.lock", 0o600),
    ] {
        let meta = fs::metadata(asked.join(name)).unwrap();
        assert_eq!(meta.mode() & 0o777, mode, "{name}");
    }

    let wrong = server.admin().password("guessed").connect().await;
    let sqlx::Error::Database(error) = wrong.unwrap_err() else {
        panic!("the server did not answer");
    };
    assert_eq!(error.code().as_deref(), Some("28P01"));

    let pid = Pid::from_raw(server_pid(&asked).unwrap());
    assert_ne!(getpgid(Some(pid)), getpgid(None), "a Ctrl-C would reach it");

    server.stop().await.unwrap();
    assert!(!asked.join("cluster/postmaster.pid").exists());
    assert!(!alive(pid.as_raw()));
}

#[tokio::test]
async fn commits_are_durable_unless_told_otherwise() {
    let scratch = scratch();
    let server = Server::open(Options {
        fsync: true,
        ..options(&scratch.path().join("data"))
    })
    .await
    .unwrap();
    let on: bool = sqlx::query_scalar(
        "select bool_and(setting = 'on') from pg_settings
         where name in ('fsync', 'synchronous_commit', 'full_page_writes')",
    )
    .fetch_one(&mut connect(&server.admin()).await)
    .await
    .unwrap();
    assert!(on);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_warm_start_keeps_the_data() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let server = open(&dir).await;
    write_mark(&server.admin()).await;
    server.stop().await.unwrap();

    let server = open(&dir).await;
    assert_eq!(marks(&server.admin()).await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_host_leaves_no_server_behind() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let mut host = Host::start(&dir);
    let server_pid = server_pid(&dir).unwrap();
    host.kill();

    eventually(Duration::from_secs(2), "the server ends", || async {
        !alive(server_pid)
    })
    .await;

    let server = open(&dir).await;
    assert!(server.owned());
    assert_eq!(marks(&server.admin()).await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn opening_right_after_a_kill_recovers() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    for round in 1..=3 {
        let mut host = Host::start(&dir);
        host.kill();
        let server = open(&dir).await;
        assert!(server.owned());
        assert_eq!(marks(&server.admin()).await, round);
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_orphan_that_ignores_its_parents_death_is_ended() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let server = open(&dir).await;
    write_mark(&server.admin()).await;
    let bin_dir: String =
        sqlx::query_scalar("select setting from pg_config() where name = 'BINDIR'")
            .fetch_one(&mut connect(&server.admin()).await)
            .await
            .unwrap();
    let socket_dir = dir.join("socket");
    server.stop().await.unwrap();

    // Started by hand, so that nothing ties it to anybody.
    let mut orphan = as_server_user(&Path::new(&bin_dir).join("postgres"), &dir)
        .arg("-D")
        .arg(dir.join("cluster"))
        .args(["-c", "listen_addresses="])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", socket_dir.display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = orphan.id().cast_signed();
    eventually(PATIENCE, "the orphan is up", || async {
        server_pid(&dir) == Some(pid)
    })
    .await;
    // Someone has to reap it, or it stays a zombie and thus alive to its pid file's readers.
    let reaper = std::thread::spawn(move || orphan.wait().unwrap());

    let server = open(&dir).await;
    assert!(reaper.join().unwrap().success(), "not a fast shutdown");
    assert_ne!(server_pid(&dir), Some(pid));
    assert_eq!(marks(&server.admin()).await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let server = open(&dir).await;
    write_mark(&server.admin()).await;
    let first = server_pid(&dir).unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();

    let admin = server.admin();
    eventually(PATIENCE, "another server answers", || async {
        server_pid(&dir) != Some(first) && admin.connect().await.is_ok()
    })
    .await;
    assert_eq!(marks(&admin).await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_process_attaches_and_takes_over() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let mut host = Host::start(&dir);
    let first = server_pid(&dir).unwrap();

    let passing = open(&dir).await;
    assert!(!passing.owned());
    assert_eq!(marks(&passing.admin()).await, 1);
    passing.stop().await.unwrap();
    assert!(alive(first), "whoever is attached must not stop the server");

    let heir = open(&dir).await;
    assert!(!heir.owned());
    host.kill();
    let admin = heir.admin();
    eventually(PATIENCE, "the attached process owns a server", || async {
        heir.owned() && admin.connect().await.is_ok()
    })
    .await;
    assert_ne!(server_pid(&dir), Some(first));
    assert_eq!(marks(&admin).await, 1);
    heir.stop().await.unwrap();
}

#[tokio::test]
async fn of_two_that_open_at_once_one_makes_the_cluster() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let (one, two) = tokio::join!(open(&dir), open(&dir));
    assert!(one.owned() != two.owned());
    write_mark(&one.admin()).await;
    assert_eq!(marks(&two.admin()).await, 1);
    let (owner, guest) = if one.owned() { (one, two) } else { (two, one) };
    guest.stop().await.unwrap();
    owner.stop().await.unwrap();
}

#[tokio::test]
async fn giving_up_while_opening_leaves_no_server() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    open(&dir).await.stop().await.unwrap();

    let _ = tokio::time::timeout(Duration::from_millis(20), open(&dir)).await;
    // The lock is free again only when the thread of the attempt has put everything away.
    eventually(PATIENCE, "the lock is free", || async {
        fs::File::open(dir.join("host.lock"))
            .unwrap()
            .try_lock()
            .is_ok()
    })
    .await;
    assert_eq!(server_pid(&dir), None);
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_removed() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    open(&dir).await.stop().await.unwrap();

    // Of the same user: for anybody else's process the server itself knows the file is stale.
    let mut stranger = as_server_user(Path::new("sleep"), &dir)
        .arg("600")
        .spawn()
        .unwrap();
    let lock = format!(
        "{}\n{}\n1700000000\n5432\n{}\n\n",
        stranger.id(),
        dir.join("cluster").display(),
        dir.join("socket").display()
    );
    for file in ["cluster/postmaster.pid", "socket/.s.PGSQL.5432.lock"] {
        let file = dir.join(file);
        fs::write(&file, &lock).unwrap();
        let owner = fs::metadata(&dir).unwrap();
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }

    let server = open(&dir).await;
    connect(&server.admin()).await;
    assert_eq!(stranger.try_wait().unwrap(), None, "the stranger was hit");
    server.stop().await.unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_folder_that_the_servers_user_cannot_enter_is_moved() {
    let scratch = scratch();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o700)).unwrap();
    let asked = scratch.path().join("data");
    let server = open(&asked).await;
    let place = server.place().to_owned();

    if geteuid().is_root() {
        assert_eq!(server.moved_from(), Some(asked.as_path()));
        assert!(!place.starts_with(scratch.path()));
        assert!(!asked.exists());
        let origin = fs::read_to_string(place.join("origin")).unwrap();
        assert_eq!(origin.trim_end(), asked.to_str().unwrap());
    } else {
        assert_eq!(server.moved_from(), None);
        assert_eq!(place, asked);
    }
    write_mark(&server.admin()).await;
    server.stop().await.unwrap();

    // The place is kept, even when the folder that was asked for becomes enterable.
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    let server = open(&asked).await;
    assert_eq!(server.place(), place);
    assert_eq!(marks(&server.admin()).await, 1);
    server.stop().await.unwrap();
    fs::remove_dir_all(place).unwrap();
}

#[tokio::test]
async fn a_cluster_that_got_out_of_reach_is_not_replaced_by_an_empty_one() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let server = open(&dir).await;
    write_mark(&server.admin()).await;
    server.stop().await.unwrap();

    fs::set_permissions(scratch.path(), Permissions::from_mode(0o700)).unwrap();
    let outcome = Server::open(options(&dir)).await;
    if geteuid().is_root() {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::NotEnterable { .. }), "{error}");
        let barrier = scratch.path().to_str().unwrap();
        assert!(error.to_string().contains(barrier), "{error}");
    } else {
        let server = outcome.unwrap();
        assert_eq!(marks(&server.admin()).await, 1);
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let server = open(&dir).await;
    server.stop().await.unwrap();
    let file = dir.join("cluster/PG_VERSION");
    let found = fs::read_to_string(&file).unwrap();

    fs::write(&file, "9\n").unwrap();
    let error = Server::open(options(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::OtherVersion { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("made by PostgreSQL 9,"), "{text}");
    assert!(
        text.contains(&format!("of PostgreSQL {} ", found.trim())),
        "{text}"
    );

    fs::write(&file, "").unwrap();
    let error = Server::open(options(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::UnreadableVersion { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_of_somebody_elses_is_left_alone() {
    let scratch = scratch();
    let dir = scratch.path().join("photos");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("holiday.jpg"), "").unwrap();
    let before = fs::metadata(&dir).unwrap();

    let error = Server::open(options(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error}");
    let after = fs::metadata(&dir).unwrap();
    assert_eq!(
        (
            after.mode(),
            after.uid(),
            fs::read_dir(&dir).unwrap().count()
        ),
        (before.mode(), before.uid(), 1)
    );
}

#[tokio::test]
async fn a_lost_password_file_is_not_replaced() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    open(&dir).await.stop().await.unwrap();
    fs::remove_file(dir.join("password")).unwrap();
    let error = Server::open(options(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::PasswordLost { .. }), "{error}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let scratch = scratch();
    let dir = scratch.path().join("d".repeat(120));
    let server = open(&dir).await;
    assert_eq!(server.place(), dir);
    write_mark(&server.admin()).await;
    let socket = PathBuf::from(pid_file_line(&dir, 5).unwrap());
    assert!(!socket.starts_with(&dir));
    let meta = fs::metadata(&socket).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o700);
    assert_eq!(meta.uid(), fs::metadata(&dir).unwrap().uid());
    server.stop().await.unwrap();
    assert!(!socket.exists(), "the short folder stays behind");

    let server = open(&dir).await;
    assert_eq!(marks(&server.admin()).await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    open(&dir).await.stop().await.unwrap();
    fs::write(dir.join("cluster/postgresql.conf"), "nonsense = 1\n").unwrap();
    let error = Server::open(options(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(error.to_string().contains("\"nonsense\""), "{error}");
}

#[tokio::test]
async fn a_removed_socket_folder_is_made_again() {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    let server = open(&dir).await;
    write_mark(&server.admin()).await;
    fs::remove_dir_all(dir.join("socket")).unwrap();
    kill(Pid::from_raw(server_pid(&dir).unwrap()), Signal::SIGKILL).unwrap();
    let admin = server.admin();
    eventually(PATIENCE, "another server answers", || async {
        admin.connect().await.is_ok()
    })
    .await;
    assert_eq!(marks(&admin).await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn missing_programs_are_named() {
    let scratch = scratch();
    let error = Server::open(Options {
        bin_dir: Some(scratch.path().to_owned()),
        ..options(&scratch.path().join("data"))
    })
    .await
    .unwrap_err();
    assert!(matches!(error, Error::NoPrograms { .. }), "{error}");
}

/// A process of its own, to be killed.
struct Host(Child);

impl Host {
    /// Returns when it owns a server and has written a mark.
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_embedded-host"))
            .arg(dir)
            .arg(MARK)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the host process ended before it was ready");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that the server's user can enter.
fn scratch() -> TempDir {
    let scratch = tempfile::Builder::new()
        .prefix("embedded-")
        .tempdir()
        .unwrap();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    scratch
}

fn options(dir: &Path) -> Options {
    Options {
        data_dir: dir.to_owned(),
        fsync: false,
        bin_dir: None,
    }
}

async fn open(dir: &Path) -> Server {
    Server::open(options(dir)).await.unwrap()
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    options.connect().await.unwrap()
}

async fn write_mark(admin: &PgConnectOptions) {
    let mut connection = connect(admin).await;
    sqlx::raw_sql(MARK).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn marks(admin: &PgConnectOptions) -> i64 {
    sqlx::query_scalar("select count(*) from marks")
        .fetch_one(&mut connect(admin).await)
        .await
        .unwrap()
}

fn pid_file_line(dir: &Path, number: usize) -> Option<String> {
    let text = fs::read_to_string(dir.join("cluster/postmaster.pid")).ok()?;
    text.lines().nth(number - 1).map(str::to_owned)
}

/// The pid of a server that takes connections.
fn server_pid(dir: &Path) -> Option<i32> {
    let ready = pid_file_line(dir, 8)?.trim() == "ready";
    ready.then(|| pid_file_line(dir, 1)?.trim().parse().ok())?
}

/// A zombie counts as gone: whether it is reaped is up to whoever inherited it.
fn alive(pid: i32) -> bool {
    if cfg!(target_os = "linux") {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|s| !s.starts_with('Z'))
        })
    } else {
        kill(Pid::from_raw(pid), None).is_ok()
    }
}

fn as_server_user(program: &Path, dir: &Path) -> Command {
    let owner = fs::metadata(dir).unwrap();
    let mut command = Command::new(program);
    command.current_dir("/");
    if geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

async fn eventually<F: Future<Output = bool>>(limit: Duration, what: &str, check: impl Fn() -> F) {
    let deadline = Instant::now() + limit;
    while !check().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
