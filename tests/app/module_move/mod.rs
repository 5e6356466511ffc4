//! `banyan module move`: real processes, two real PostgreSQL servers.

mod kills;
mod load;

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::process::{Child, Command};

use crate::support::{
    cluster::ROLE_SECRET,
    process::{DataDir, banyan},
};

const MODULE: &str = "notification";
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// An installation whose database runs beside the test, and a second server to move to.
struct Two {
    data_dir: DataDir,
    first: embedded::Server,
    second: embedded::Server,
}

impl Two {
    /// Everything is in the first, migrated; the second is prepared.
    async fn new() -> Self {
        let data_dir = DataDir::new();
        let open = async |folder: &str| {
            let options = embedded::Options {
                data_dir: data_dir.0.join(folder),
                fsync: false,
                bin_dir: None,
            };
            embedded::Server::open(options).await.expect("it starts")
        };
        let (first, second) = (open("postgres").await, open("second").await);
        let two = Self {
            data_dir,
            first,
            second,
        };
        two.configure("");
        two.ok(&["migrate"]).await;
        let admin = two.second.database("elsewhere").to_url_lossy().to_string();
        two.ok(&["database", "prepare", "--admin-url", &admin])
            .await;
        two
    }

    /// Where notification is, as the configuration says; empty for the database of all.
    fn configure(&self, place: &str) {
        self.configure_all(&[MODULE], place);
    }

    fn configure_all(&self, modules: &[&str], place: &str) {
        let mut text = format!(
            "[database]\nrole_secret = \"{ROLE_SECRET}\"\n\n[secrets]\nmaster_key = \"{MASTER_KEY}\"\n"
        );
        for module in modules {
            text += &format!("\n[modules.{module}]\ndatabase_url = \"{place}\"\n");
        }
        // In one step: processes read it at any time.
        let draft = self.data_dir.0.join("draft.toml");
        std::fs::write(&draft, text).expect("written");
        std::fs::rename(draft, self.data_dir.0.join("banyan.toml")).expect("in place");
    }

    fn elsewhere(&self) -> String {
        url(&self.second.database("elsewhere"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = banyan(&self.data_dir.0);
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().await.expect("it runs");
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        format!("{out}{err}")
    }

    async fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().await.expect("it runs");
        let (out, err) = texts(&output);
        assert!(!output.status.success(), "{arguments:?}: {out}{err}");
        err
    }

    /// `banyan module move`, running.
    fn start_move(&self, to: &str) -> Child {
        let arguments = ["module", "move", MODULE, "--to", to, "--yes"];
        let mut command = self.command(&arguments);
        command.args(["--grace-seconds", "0"]);
        command.spawn().expect("it starts")
    }

    /// As the superuser.
    async fn at_first(&self) -> PgConnection {
        let database = self.first.database("banyan");
        database.connect().await.expect("it answers")
    }

    async fn at_second(&self) -> PgConnection {
        let database = self.second.database("elsewhere");
        database.connect().await.expect("it answers")
    }

    /// As the role that serves: at the source, at the target.
    async fn runtime(&self, database: PgConnectOptions) -> PgConnection {
        let role = database::runtime_role(MODULE);
        let password = database::role_password(ROLE_SECRET.as_bytes(), &role);
        let options = database.username(&role).password(&password);
        options.connect().await.expect("the role signs in")
    }

    /// Which of the two lets the role that serves write: never both.
    async fn may_write(&self) -> (bool, bool) {
        let mut may = Vec::new();
        for database in [
            self.first.database("banyan"),
            self.second.database("elsewhere"),
        ] {
            let mut conn = self.runtime(database).await;
            may.push(write(&mut conn).await.is_ok());
            conn.close().await.expect("closed");
        }
        (may[0], may[1])
    }

    async fn stop(self) {
        self.second.stop().await.expect("stopped");
        self.first.stop().await.expect("stopped");
    }
}

/// Something that only a module that serves may do, prepared at its first use. An error is told by
/// its SQLSTATE.
async fn write(conn: &mut PgConnection) -> Result<(), String> {
    let update = "UPDATE notification.head SET pos = pos";
    match sqlx::query(update).execute(conn).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) => Err(error.code().unwrap_or_default().into_owned()),
        Err(error) => panic!("{error}"),
    }
}

/// A socket's address as configuration takes it, without user and password.
fn url(options: &PgConnectOptions) -> String {
    format!(
        "postgres:///{}?host={}&port={}",
        options.get_database().expect("a name"),
        options
            .get_socket()
            .expect("embedded servers have one")
            .display(),
        options.get_port()
    )
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Waits until a query says true.
async fn becomes(conn: &mut PgConnection, query: &str) {
    for _ in 0..600 {
        let row = sqlx::query_scalar(AssertSqlSafe(query));
        if row.fetch_one(&mut *conn).await.expect(query) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {query}");
}

async fn run(conn: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(conn)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {error}"));
}

async fn text(conn: &mut PgConnection, query: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(conn)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

const STATE: &str = "SELECT state FROM notification.place";
