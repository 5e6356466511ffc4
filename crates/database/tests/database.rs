//! Against a real server, shared by the cases: each has a database of its own, and, where it changes
//! roles, modules of its own, since roles belong to the cluster.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use database::{
    Error, ensure_prepared, migrate, migrate_copy, owner_role, prepare, prepare_script,
    role_password, runtime_role,
};
use embedded::{Options, Server};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr};
use tokio::sync::OnceCell;

const SECRET: &[u8] = b"the secret of these cases";
const REFUSED: &str = "42501";

#[tokio::test]
async fn what_is_prepared_is_left_alone() {
    let db = Database::new("twice").await;
    let modules = ["twice_a", "twice_b"];
    prepare(&db.admin, db.name, &modules, SECRET).await.unwrap();
    let before = db.stored_passwords("twice").await;
    assert_eq!(before.len(), 4);

    ensure_prepared(&db.admin, db.name, &modules, SECRET)
        .await
        .unwrap();
    // Salts are random, so that a password that was set again would be stored otherwise.
    assert_eq!(db.stored_passwords("twice").await, before);
    prepare(&db.admin, db.name, &modules, SECRET).await.unwrap();
    assert_ne!(db.stored_passwords("twice").await, before, "asked to");

    ensure_prepared(&db.admin, db.name, &["twice_c"], SECRET)
        .await
        .unwrap();
    assert_eq!(db.stored_passwords("twice").await.len(), 6);
    db.drop().await;
}

#[tokio::test]
async fn two_may_prepare_at_once() {
    let one = Database::new("race_one").await;
    let two = Database::new("race_two").await;
    let modules = ["race_a", "race_b"];
    let outcomes = tokio::join!(
        ensure_prepared(&one.admin, one.name, &modules, SECRET),
        ensure_prepared(&one.admin, one.name, &modules, SECRET),
        ensure_prepared(&two.admin, two.name, &modules, SECRET),
        ensure_prepared(&two.admin, two.name, &modules, SECRET),
    );
    outcomes.0.unwrap();
    outcomes.1.unwrap();
    outcomes.2.unwrap();
    outcomes.3.unwrap();
    for db in [&one, &two] {
        db.sign_in(&runtime_role("race_a"))
            .await
            .close()
            .await
            .unwrap();
    }
    one.drop().await;
    two.drop().await;
}

#[tokio::test]
async fn another_secret_changes_the_passwords() {
    let db = Database::new("secret").await;
    let role = runtime_role("secret");
    prepare(&db.admin, db.name, &["secret"], b"first")
        .await
        .unwrap();
    prepare(&db.admin, db.name, &["secret"], b"second")
        .await
        .unwrap();

    let options = db.admin.clone().database(db.name).username(&role);
    let old = options.clone().password(&role_password(b"first", &role));
    assert_eq!(code(old.connect().await.unwrap_err()), "28P01");
    let new = options.password(&role_password(b"second", &role));
    new.connect().await.unwrap().close().await.unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_verifier_stands_for_its_password() {
    let db = Database::new("verifier").await;
    let role = "verifier_by_hand";
    let mut admin = db.admin.connect().await.unwrap();
    let verifier = database::scram_verifier("sesame");
    run(&mut admin, &format!("DROP ROLE IF EXISTS {role}"))
        .await
        .unwrap();
    run(
        &mut admin,
        &format!("CREATE ROLE {role} LOGIN PASSWORD '{verifier}'"),
    )
    .await
    .unwrap();

    let options = db.admin.clone().username(role);
    let connection = options.clone().password("sesame").connect().await.unwrap();
    connection.close().await.unwrap();
    let wrong = options.password("Sesame").connect().await.unwrap_err();
    assert_eq!(code(wrong), "28P01");
    run(&mut admin, &format!("DROP ROLE {role}")).await.unwrap();
    db.drop().await;
}

#[tokio::test]
async fn roles_stay_within_their_modules() {
    let db = Database::new("border").await;
    prepare(&db.admin, db.name, &["border_a", "border_b"], SECRET)
        .await
        .unwrap();
    for module in ["border_a", "border_b"] {
        let migrations = migrations(&[(
            1,
            "things",
            &format!(
                "CREATE TABLE {module}.things (id serial PRIMARY KEY, name text);
                 CREATE TYPE {module}.mood AS ENUM ('glad', 'sad');
                 CREATE FUNCTION {module}.one() RETURNS integer LANGUAGE sql RETURN 1;"
            ),
        )]);
        migrate(&db.as_owner(module), module, &migrations)
            .await
            .unwrap();
    }

    // Rows of its own, and what belongs to them.
    let mut a = db.sign_in(&runtime_role("border_a")).await;
    run(
        &mut a,
        "INSERT INTO border_a.things (name) VALUES ('thing');
         UPDATE border_a.things SET name = 'other';
         SELECT border_a.one(), 'glad'::border_a.mood FROM border_a.things;
         DELETE FROM border_a.things;
         SELECT version FROM border_a.event_keys, (SELECT 1 AS version) AS one",
    )
    .await
    .unwrap();

    let refused = [
        // Another module's
        "SELECT FROM border_b.things",
        "INSERT INTO border_b.things (name) VALUES ('planted')",
        "SELECT border_b.one()",
        "SELECT FROM border_b.outbox",
        // The structure of its own
        "CREATE TABLE border_a.more (id int)",
        "ALTER TABLE border_a.things ADD more int",
        "DROP TABLE border_a.things",
        "TRUNCATE border_a.things",
        "CREATE INDEX ON border_a.things (name)",
        "CREATE FUNCTION border_a.two() RETURNS integer LANGUAGE sql RETURN 2",
        "CREATE TRIGGER t BEFORE INSERT ON border_a.things FOR EACH ROW EXECUTE FUNCTION border_a.one()",
        "DROP SCHEMA border_a CASCADE",
        // What has been applied
        "DELETE FROM border_a.schema_migrations",
        "SELECT FROM border_a.bus_migrations",
        // Elsewhere
        "CREATE TABLE public.planted (id int)",
        "CREATE TEMPORARY TABLE planted (id int)",
        "CREATE SCHEMA planted",
        "CREATE ROLE planted",
        "SET ROLE banyan_border_a_owner",
        "SELECT rolpassword FROM pg_authid",
    ];
    for statement in refused {
        let error = run(&mut a, statement).await.expect_err(statement);
        assert_eq!(code(error), REFUSED, "{statement}");
    }

    let mut owner = db.sign_in(&owner_role("border_a")).await;
    for statement in [
        "SELECT FROM border_b.things",
        "CREATE TABLE border_b.planted (id int)",
        "CREATE TABLE public.planted (id int)",
        "CREATE SCHEMA planted",
        "ALTER ROLE banyan_border_b PASSWORD 'mine'",
    ] {
        let error = run(&mut owner, statement).await.expect_err(statement);
        assert_eq!(code(error), REFUSED, "{statement}");
    }
    a.close().await.unwrap();
    owner.close().await.unwrap();
    db.drop().await;
}

#[tokio::test]
async fn strangers_do_not_connect() {
    let db = Database::new("strangers").await;
    let other = Database::new("strangers_other").await;
    prepare(&db.admin, db.name, &["strangers"], SECRET)
        .await
        .unwrap();
    prepare(&other.admin, other.name, &["strangers_other"], SECRET)
        .await
        .unwrap();
    let role = runtime_role("strangers_other");
    let error = db
        .admin
        .clone()
        .database(db.name)
        .username(&role)
        .password(&role_password(SECRET, &role))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(code(error), REFUSED);
    db.drop().await;
    other.drop().await;
}

/// A managed PostgreSQL gives no superuser.
#[tokio::test]
async fn an_administrator_need_not_be_superuser() {
    let db = Database::new("managed").await;
    let mut admin = db.admin.connect().await.unwrap();
    // There already when the cluster is used again.
    let _ = run(&mut admin, "CREATE ROLE managed_admin").await;
    run(
        &mut admin,
        "ALTER ROLE managed_admin LOGIN CREATEROLE CREATEDB NOINHERIT PASSWORD 'managed'",
    )
    .await
    .unwrap();

    let managed = db
        .admin
        .clone()
        .username("managed_admin")
        .password("managed");
    let modules = ["managed_a", "managed_b"];
    prepare(&managed, db.name, &modules, SECRET).await.unwrap();
    migrate(
        &db.as_owner("managed_a"),
        "managed_a",
        &migrations(&[(1, "things", "CREATE TABLE managed_a.things (id int)")]),
    )
    .await
    .unwrap();
    let mut runtime = db.sign_in(&runtime_role("managed_a")).await;
    run(&mut runtime, "SELECT FROM managed_a.things")
        .await
        .unwrap();
    let error = run(&mut runtime, "CREATE TABLE managed_a.more (id int)").await;
    assert_eq!(code(error.unwrap_err()), REFUSED);
    runtime.close().await.unwrap();

    // And again, with everything to be done anew.
    prepare(&managed, db.name, &modules, b"another")
        .await
        .unwrap();
    db.drop().await;
}

#[tokio::test]
async fn the_printed_script_does_the_same() {
    let db = Database::new("script").await;
    let modules = ["script_a", "script_b"];
    let script = prepare_script(db.name, &modules, SECRET).unwrap();
    for module in modules {
        for role in [owner_role(module), runtime_role(module)] {
            assert!(!script.contains(&role_password(SECRET, &role)), "{role}");
        }
    }
    for _ in 0..2 {
        psql(&db.admin, &script);
    }
    let before = db.stored_passwords("script").await;
    assert_eq!(before.len(), 4);
    ensure_prepared(&db.admin, db.name, &modules, SECRET)
        .await
        .unwrap();
    assert_eq!(db.stored_passwords("script").await, before, "work was left");
    db.drop().await;
}

#[tokio::test]
async fn a_schema_of_somebody_elses_is_refused() {
    let db = Database::new("occupied").await;
    prepare(&db.admin, db.name, &[], SECRET).await.unwrap();
    let mut admin = db.admin.clone().database(db.name).connect().await.unwrap();
    run(&mut admin, "CREATE SCHEMA taken").await.unwrap();
    admin.close().await.unwrap();
    let error = prepare(&db.admin, db.name, &["taken"], SECRET)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("the schema taken"), "{error}");
    db.drop().await;
}

#[tokio::test]
async fn names_are_checked() {
    let admin = PgConnectOptions::new_without_pgpass();
    for module in [
        "",
        "A",
        "a-b",
        "public",
        "pg_a",
        "a_owner",
        "a; drop table b",
    ] {
        let error = prepare(&admin, "any", &[module], SECRET).await.unwrap_err();
        assert!(matches!(error, Error::ModuleName(_)), "{module}: {error}");
        let none = migrations(&[]);
        let error = migrate(&admin, module, &none).await.unwrap_err();
        assert!(matches!(error, Error::ModuleName(_)), "{module}: {error}");
    }
    let error = prepare_script(&"d".repeat(64), &[], SECRET).unwrap_err();
    assert!(matches!(error, Error::DatabaseName(_)), "{error}");
}

#[tokio::test]
async fn of_two_that_migrate_at_once_one_waits() {
    let db = Database::new("migrate_race").await;
    prepare(&db.admin, db.name, &["migrate_race"], SECRET)
        .await
        .unwrap();
    // Fails when applied twice, and takes long enough for the other to come.
    let migrations = migrations(&[
        (1, "things", "CREATE TABLE migrate_race.things (id int)"),
        (
            2,
            "slow",
            "SELECT pg_sleep(0.3); INSERT INTO migrate_race.things VALUES (1)",
        ),
    ]);
    let owner = db.as_owner("migrate_race");
    let outcomes = tokio::join!(
        migrate(&owner, "migrate_race", &migrations),
        migrate(&owner, "migrate_race", &migrations),
        migrate(&owner, "migrate_race", &migrations),
    );
    outcomes.0.unwrap();
    outcomes.1.unwrap();
    outcomes.2.unwrap();
    migrate(&owner, "migrate_race", &migrations).await.unwrap();

    let things: i64 = sqlx::query_scalar("SELECT count(*) FROM migrate_race.things")
        .fetch_one(&mut db.sign_in(&runtime_role("migrate_race")).await)
        .await
        .unwrap();
    assert_eq!(things, 1);
    db.drop().await;
}

#[tokio::test]
async fn migrations_only_go_forward() {
    let db = Database::new("forward").await;
    prepare(&db.admin, db.name, &["forward"], SECRET)
        .await
        .unwrap();
    let owner = db.as_owner("forward");
    let first = (1, "first", "CREATE TABLE forward.first (id int)");
    let second = (2, "second", "CREATE TABLE forward.second (id int)");
    let third = (3, "third", "CREATE TABLE forward.third (id int)");
    migrate(&owner, "forward", &migrations(&[first, second]))
        .await
        .unwrap();

    // The previous release starts again beside this one.
    migrate(&owner, "forward", &migrations(&[first]))
        .await
        .unwrap();

    let changed = (2, "second", "CREATE TABLE forward.second (id bigint)");
    let error = migrate(&owner, "forward", &migrations(&[first, changed])).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, Error::Changed { version: 2, .. }),
        "{error}"
    );

    let error = migrate(&owner, "forward", &migrations(&[first, third])).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, Error::Missing { version: 2, .. }),
        "{error}"
    );

    let broken = (
        3,
        "broken",
        "CREATE TABLE forward.third (id int); SELECT nonsense",
    );
    let error = migrate(&owner, "forward", &migrations(&[first, second, broken])).await;
    let error = error.unwrap_err();
    let Error::Migration { version: 3, .. } = &error else {
        panic!("{error}");
    };
    let text = error.to_string();
    assert!(text.contains("migration 3 (broken) of forward"), "{text}");

    // It left nothing behind.
    migrate(&owner, "forward", &migrations(&[first, second, third]))
        .await
        .unwrap();
    db.drop().await;
}

#[tokio::test]
async fn a_schema_that_was_moved_away_stays_shut() {
    let db = Database::new("away").await;
    prepare(&db.admin, db.name, &["away_a"], SECRET)
        .await
        .unwrap();
    let things = "CREATE TABLE away_a.things (id bigint)";
    let own = migrations(&[(1, "things", things)]);
    let as_owner = db.as_owner("away_a");
    migrate(&as_owner, "away_a", &own).await.unwrap();
    let mut owner = db.sign_in(&owner_role("away_a")).await;
    run(
        &mut owner,
        "UPDATE away_a.place SET state = 'moved', peer = gen_random_uuid(), peer_name = 'there';
         REVOKE USAGE ON SCHEMA away_a FROM banyan_away_a",
    )
    .await
    .unwrap();
    let error = migrate(&as_owner, "away_a", &own).await.unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    assert!(
        error.to_string().contains("modules.away_a.database_url"),
        "{error}"
    );
    migrate_copy(&as_owner, "away_a", &own).await.unwrap();

    let mut runtime = db.sign_in(&runtime_role("away_a")).await;
    let write = "INSERT INTO away_a.things VALUES (1)";
    prepare(&db.admin, db.name, &["away_a"], SECRET)
        .await
        .unwrap();
    assert_eq!(code(run(&mut runtime, write).await.unwrap_err()), REFUSED);
    run(
        &mut owner,
        "UPDATE away_a.place SET state = 'here', peer = NULL",
    )
    .await
    .unwrap();
    prepare(&db.admin, db.name, &["away_a"], SECRET)
        .await
        .unwrap();
    run(&mut runtime, write).await.unwrap();
    owner.close().await.unwrap();
    runtime.close().await.unwrap();
    db.drop().await;
}

#[tokio::test]
async fn pools_sign_in_as_the_runtime_role() {
    let db = Database::new("pool").await;
    prepare(&db.admin, db.name, &["pool"], SECRET)
        .await
        .unwrap();
    let role = runtime_role("pool");
    let options = db
        .admin
        .clone()
        .database(db.name)
        .username(&role)
        .password(&role_password(SECRET, &role));
    let pool = database::pool_options(2)
        .connect_with(options)
        .await
        .unwrap();
    let user: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(user, role);
    pool.close().await;
    db.drop().await;
}

struct Database {
    admin: PgConnectOptions,
    name: &'static str,
}

impl Database {
    /// A name without a database: creating it is for `prepare`.
    async fn new(name: &'static str) -> Self {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        // Kept between runs, since making a cluster takes longer than all the cases. It ends with
        // this process.
        let server = SERVER
            .get_or_init(|| async {
                Server::open(Options {
                    data_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("database"),
                    fsync: false,
                    bin_dir: None,
                })
                .await
                .unwrap()
            })
            .await;
        let db = Self {
            admin: server.admin(),
            name,
        };
        db.remove().await;
        db
    }

    /// Left out when a case fails, to be looked at.
    async fn drop(self) {
        self.remove().await;
    }

    async fn remove(&self) {
        let mut admin = self.admin.connect().await.unwrap();
        let name = self.name;
        run(
            &mut admin,
            &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        )
        .await
        .unwrap();
        let roles: Vec<String> =
            sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, $1)")
                .bind(format!("banyan_{name}"))
                .fetch_all(&mut admin)
                .await
                .unwrap();
        for role in roles {
            // One that another case's database still needs stays.
            let _ = run(&mut admin, &format!("DROP ROLE {role}")).await;
        }
        admin.close().await.unwrap();
    }

    fn as_owner(&self, module: &str) -> PgConnectOptions {
        self.signed_in(&owner_role(module))
    }

    fn signed_in(&self, role: &str) -> PgConnectOptions {
        self.admin
            .clone()
            .database(self.name)
            .username(role)
            .password(&role_password(SECRET, role))
    }

    async fn sign_in(&self, role: &str) -> PgConnection {
        self.signed_in(role).connect().await.unwrap()
    }

    async fn stored_passwords(&self, modules: &str) -> Vec<(String, String)> {
        sqlx::query_as(
            "SELECT rolname::text, rolpassword FROM pg_authid
              WHERE starts_with(rolname, 'banyan_' || $1) ORDER BY rolname",
        )
        .bind(modules)
        .fetch_all(&mut self.admin.connect().await.unwrap())
        .await
        .unwrap()
    }
}

fn migrations(sources: &[(i64, &'static str, &str)]) -> Migrator {
    let migrations = sources
        .iter()
        .map(|(version, description, sql)| {
            Migration::new(
                *version,
                (*description).into(),
                MigrationType::Simple,
                AssertSqlSafe((*sql).to_owned()).into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}

async fn run(connection: &mut PgConnection, sql: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(drop)
}

fn code(error: sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(e) => e.code().unwrap_or_default().into_owned(),
        other => panic!("not the server's: {other}"),
    }
}

fn psql(admin: &PgConnectOptions, script: &str) {
    // Without the parameters that are sqlx's own.
    let mut url = admin.to_url_lossy();
    url.set_query(None);
    let mut child = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--no-password", "--dbname"])
        .arg(url.as_str())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}
