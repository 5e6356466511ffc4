//! Real processes: killed, stopped, and two at once.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use crate::support::{
    PASSWORD,
    process::{DataDir, Process, banyan},
    six_digits,
};

pub(crate) async fn post(url: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    static HTTP: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    let http = HTTP.get_or_init(reqwest::Client::new);
    let answer = http
        .post(format!("{url}{path}"))
        .json(body)
        .send()
        .await
        .ok()?;
    let status = answer.status().as_u16();
    let body = answer.json().await.unwrap_or(Value::Null);
    Some((status, body))
}

async fn mails(url: &str) -> Vec<Value> {
    let answer = reqwest::get(format!("{url}/dev/mailbox/messages"))
        .await
        .expect("an answer");
    answer.json().await.expect("a list")
}

/// Signs in as superuser to the embedded database that a process runs.
pub(crate) async fn database(data_dir: &DataDir) -> PgConnection {
    let options = embedded::Options {
        data_dir: data_dir.0.join("postgres"),
        fsync: true,
        bin_dir: None,
    };
    let server = embedded::Server::open(options)
        .await
        .expect("it runs already");
    assert!(!server.owned(), "the process holds it");
    let options: PgConnectOptions = server.database("banyan");
    options.connect().await.expect("it answers")
}

pub(crate) async fn number(conn: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(conn)
        .await
        .expect("a number")
}

/// Waits until a number is reached; what takes longer than this is stuck.
pub(crate) async fn until(conn: &mut PgConnection, query: &'static str, wanted: i64) {
    for _ in 0..600 {
        if number(conn, query).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{query} is {}, not {wanted}", number(conn, query).await);
}

/// The newest mail with a code to an address.
async fn newest_mail(url: &str, email: &str) -> Option<Value> {
    let answer = reqwest::get(format!("{url}/dev/mailbox/messages?to={email}"))
        .await
        .ok()?;
    let mails: Vec<Value> = answer.json().await.ok()?;
    let with_code = |mail: &Value| mail["subject"].as_str().is_some_and(|s| s.contains("code"));
    mails.into_iter().find(with_code)
}

/// Registers and verifies. False when something was lost on the way.
pub(crate) async fn sign_up(url: &str, email: &str) -> bool {
    // The code of an earlier try, if there was one, is not the one to wait for.
    let before = newest_mail(url, email).await;
    let body = json!({ "email": email, "password": PASSWORD });
    let Some((202, registration)) = post(url, "/api/v1/auth/registrations", &body).await else {
        return false;
    };
    let id = registration["id"].as_str().expect("an id");
    for _ in 0..100 {
        let mail = newest_mail(url, email).await;
        if let Some(mail) = mail.filter(|mail| Some(mail) != before.as_ref()) {
            let code = six_digits(mail["text"].as_str().expect("a text"));
            let path = format!("/api/v1/auth/registrations/{id}/verify");
            let answer = post(url, &path, &json!({ "code": code })).await;
            return matches!(answer, Some((201, _)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// How many sign up while the program is killed three times: a few, so that the test is quick;
/// `BANYAN_TEST_PEOPLE=1000` shows it under load.
fn people() -> i64 {
    match std::env::var("BANYAN_TEST_PEOPLE") {
        Ok(number) => number.parse().expect("BANYAN_TEST_PEOPLE is a number"),
        Err(_) => 24,
    }
}

/// Tries until there is an account, whatever happens to the program meanwhile.
pub(crate) async fn insist(url: &str, email: &str) {
    for _ in 0..1_000 {
        let body = json!({ "email": email, "password": PASSWORD });
        // The answer to a verification may have been lost after the account was made.
        if let Some((200, _)) = post(url, "/api/v1/auth/login", &body).await {
            return;
        }
        if sign_up(url, email).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{email} could not sign up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_mid_flow_lose_nothing_and_repeat_nothing() {
    let data_dir = DataDir::new();
    let total = people();
    let mut process = Process::serve(&data_dir.0).await;
    let url: Arc<str> = process.url.as_str().into();
    let port = url
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    // Twelve at a time.
    let places = Arc::new(tokio::sync::Semaphore::new(12));
    let people: Vec<_> = (0..total)
        .map(|n| {
            let (url, places) = (Arc::clone(&url), Arc::clone(&places));
            tokio::spawn(async move {
                let _place = places.acquire().await.expect("never closed");
                insist(&url, &format!("person{n}@example.com")).await;
            })
        })
        .collect();
    for kill in 1..=3 {
        let mut conn = database(&data_dir).await;
        // In mid-flow, whatever the speed of the machine.
        while number(&mut conn, "SELECT count(*) FROM identity.users").await < kill * total / 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.kill().await;
        process = Process::serve_on(&data_dir.0, port).await;
    }
    for person in people {
        person.await.expect("everybody got an account");
    }
    let mut conn = database(&data_dir).await;
    let users = number(&mut conn, "SELECT count(*) FROM identity.users").await;
    assert_eq!(users, total);
    until(&mut conn, "SELECT count(*) FROM profile.profiles", users).await;
    let welcome = "SELECT count(*) FROM notification.deliveries \
                   WHERE template = 'welcome' AND status = 'sent'";
    until(&mut conn, welcome, users).await;
    let twice = "SELECT count(*) FROM (SELECT 1 FROM notification.deliveries \
                 WHERE template = 'welcome' GROUP BY address HAVING count(*) > 1) AS twice";
    assert_eq!(number(&mut conn, twice).await, 0);
    println!("{total} people, 3 kills: {users} users, profiles and welcome mails; none twice");
    for parked in [
        "SELECT count(*) FROM identity.parked",
        "SELECT count(*) FROM profile.parked",
        "SELECT count(*) FROM notification.parked",
        "SELECT count(*) FROM logging.parked",
    ] {
        assert_eq!(number(&mut conn, parked).await, 0, "{parked}");
    }
    assert!(process.stop().await.success());
    let verified = banyan(&data_dir.0)
        .args(["audit", "verify"])
        .output()
        .await
        .unwrap();
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_database_share_the_work() {
    let data_dir = DataDir::new();
    // Both at once: one makes the cluster and migrates, the other waits for it.
    let (first, second) = tokio::join!(Process::serve(&data_dir.0), Process::serve(&data_dir.0));
    for n in 0..6 {
        let url = if n % 2 == 0 { &first.url } else { &second.url };
        assert!(
            sign_up(url, &format!("person{n}@example.com")).await,
            "person {n}"
        );
    }
    let mut conn = database(&data_dir).await;
    let welcome = "SELECT count(*) FROM notification.deliveries \
                   WHERE template = 'welcome' AND status = 'sent'";
    until(&mut conn, welcome, 6).await;
    assert_eq!(mails(&first.url).await.len(), 12);
    until(&mut conn, "SELECT count(*) FROM profile.profiles", 6).await;
    drop(conn);
    // The one that attached goes first: the database is the other's child.
    let (owner, guest) = if owns(&first).await {
        (first, second)
    } else {
        (second, first)
    };
    assert!(guest.stop().await.success());
    assert!(sign_up(&owner.url, "late@example.com").await);
    assert!(owner.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_may_answer_and_another_work() {
    let data_dir = DataDir::new();
    let start = |roles| Process::start(&data_dir.0, Process::free_port(), roles);
    let web = start("web").ready().await;
    let body = json!({ "email": "early@example.com", "password": PASSWORD });
    let answer = post(&web.url, "/api/v1/auth/registrations", &body).await;
    assert!(matches!(answer, Some((202, _))), "{answer:?}");
    let mut conn = database(&data_dir).await;
    let waiting = "SELECT count(*) FROM identity.outbox \
                   WHERE type = 'identity.user.verification_requested.v1'";
    assert_eq!(number(&mut conn, waiting).await, 1, "nobody works");

    let worker = start("worker").ready().await;
    until(&mut conn, waiting, 0).await;
    let answer = post(&worker.url, "/api/v1/auth/registrations", &body).await;
    assert!(matches!(answer, Some((503, _))), "{answer:?}");
    assert!(sign_up(&web.url, "ada@example.com").await);
    let welcome = "SELECT count(*) FROM notification.deliveries \
                   WHERE template = 'welcome' AND status = 'sent'";
    until(&mut conn, welcome, 1).await;
    drop(conn);
    assert!(worker.stop().await.success());
    assert!(web.stop().await.success());
}

/// Is the database a child of this process?
async fn owns(process: &Process) -> bool {
    let pid = process.child.id().expect("it runs").to_string();
    let output = tokio::process::Command::new("pgrep")
        .args(["--parent", &pid, "--exact", "postgres"])
        .output()
        .await
        .expect("pgrep runs");
    output.status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_loses_no_request() {
    let data_dir = DataDir::new();
    let process = Process::serve(&data_dir.0).await;
    let url = process.url.clone();
    let load = tokio::spawn(async move {
        let http = reqwest::Client::new();
        let (mut answered, mut broken) = (0, 0);
        loop {
            let body = json!({ "email": "x@example.com", "password": "wrong wrong wrong" });
            let sent = http
                .post(format!("{url}/api/v1/auth/login"))
                .json(&body)
                .send()
                .await;
            match sent {
                Ok(answer) if answer.status() == 401 => answered += 1,
                Ok(answer) => panic!("{}", answer.status()),
                // Refused before it was taken: no request was lost.
                Err(error) if error.is_connect() => return (answered, broken),
                Err(_) => {
                    broken += 1;
                    if broken > 3 {
                        return (answered, broken);
                    }
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(process.stop().await.success());
    let (answered, broken) = load.await.unwrap();
    assert!(answered > 0);
    assert_eq!(broken, 0);
}

#[tokio::test]
async fn commands_work_without_a_running_server() {
    let data_dir = DataDir::new();
    let run = async |arguments: &[&str], stdin: Option<&str>| {
        let mut command = banyan(&data_dir.0);
        command.args(arguments).stdin(std::process::Stdio::piped());
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        if let Some(text) = stdin {
            use tokio::io::AsyncWriteExt;
            child
                .stdin
                .take()
                .unwrap()
                .write_all(text.as_bytes())
                .await
                .unwrap();
        }
        drop(child.stdin.take());
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (ok, out, err) = run(&["config", "check"], None).await;
    assert!(ok && out.contains("good"), "{out}{err}");
    let (ok, out, err) = run(&["migrate"], None).await;
    assert!(ok && out.contains("identity"), "{out}{err}");
    let create = [
        "user",
        "create-admin",
        "--email",
        "root@example.com",
        "--password-stdin",
    ];
    let (ok, out, err) = run(&create, Some(PASSWORD)).await;
    assert!(ok, "{out}{err}");
    let process = Process::serve(&data_dir.0).await;
    let body = json!({ "email": "root@example.com", "password": PASSWORD });
    let (status, tokens) = post(&process.url, "/api/v1/auth/login", &body)
        .await
        .unwrap();
    assert_eq!(status, 200);
    let answer = reqwest::Client::new()
        .get(format!("{}/api/v1/audit", process.url))
        .bearer_auth(tokens["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    // Beside the running server, on its database.
    let (ok, out, err) = run(&["events", "parked"], None).await;
    assert!(ok && out.contains("nothing is parked"), "{out}{err}");
    let (ok, out, err) = run(&["audit", "verify"], None).await;
    assert!(ok, "{out}{err}");
    assert!(process.stop().await.success());

    let (ok, _, err) = run(&["events", "replay", "--module", "nothing"], None).await;
    assert!(!ok && err.contains("no module"), "{err}");
    let mut command = banyan(&data_dir.0);
    let output = command
        .env("BANYAN__SERVER__LISTN", "x")
        .args(["config", "check"])
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("listn"),
        "{error}"
    );
    let secret = "a secret of at least thirty-two characters";
    let mut command = banyan(&data_dir.0);
    let output = command
        .env("BANYAN__DATABASE__ROLE_SECRET", secret)
        .args(["database", "prepare", "--print"])
        .output()
        .await
        .unwrap();
    let sql = String::from_utf8_lossy(&output.stdout);
    assert!(sql.contains("banyan_identity") && !sql.contains(secret));
    let output = command.args(["config"]).output().await.unwrap();
    assert!(!output.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_cannot_start_is_tried_again_while_the_others_serve() {
    let data_dir = DataDir::new();
    let migrated = banyan(&data_dir.0).arg("migrate").output().await.unwrap();
    assert!(migrated.status.success());
    let options = embedded::Options {
        data_dir: data_dir.0.join("postgres"),
        fsync: true,
        bin_dir: None,
    };
    let server = embedded::Server::open(options).await.unwrap();
    let mut conn = server.database("banyan").connect().await.unwrap();
    sqlx::query("ALTER ROLE banyan_profile CONNECTION LIMIT 0")
        .execute(&mut conn)
        .await
        .unwrap();
    drop(conn);
    server.stop().await.unwrap();

    let port = Process::free_port();
    let mut process = Process::start(&data_dir.0, port, "all");
    process.answers("/health/live", 200).await;
    process.answers("/.well-known/jwks.json", 200).await;
    process.answers("/api/v1/profiles/me", 503).await;
    process.answers("/health/ready", 503).await;
    let mut conn = database(&data_dir).await;
    sqlx::query("ALTER ROLE banyan_profile CONNECTION LIMIT -1")
        .execute(&mut conn)
        .await
        .unwrap();
    process.answers("/api/v1/profiles/me", 401).await;
    process.answers("/health/ready", 200).await;
    assert!(process.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_models_are_rebuilt_from_the_log_and_by_restating() {
    let data_dir = DataDir::new();
    let process = Process::serve(&data_dir.0).await;
    for n in 0..3 {
        assert!(sign_up(&process.url, &format!("person{n}@example.com")).await);
    }
    let mut conn = database(&data_dir).await;
    let recipients = "SELECT count(*) FROM notification.recipients WHERE email IS NOT NULL";
    until(&mut conn, recipients, 3).await;
    let welcomed = "SELECT count(*) FROM notification.deliveries WHERE template = 'welcome'";
    until(&mut conn, welcomed, 3).await;
    sqlx::query("DELETE FROM notification.recipient_accounts")
        .execute(&mut conn)
        .await
        .unwrap();
    // Beside the running server, which does the work.
    let run = async |arguments: &[&str]| {
        let output = banyan(&data_dir.0).args(arguments).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
    };
    run(&["events", "replay", "--module", "notification"]).await;
    until(&mut conn, recipients, 3).await;
    sqlx::query("DELETE FROM notification.recipient_accounts")
        .execute(&mut conn)
        .await
        .unwrap();
    run(&["events", "restate", "--module", "identity"]).await;
    run(&["events", "restate", "--module", "profile"]).await;
    until(&mut conn, recipients, 3).await;
    // Neither told anybody anything again.
    assert_eq!(number(&mut conn, welcomed).await, 3);
    assert_eq!(
        number(&mut conn, "SELECT count(*) FROM profile.profiles").await,
        3
    );
    assert!(process.stop().await.success());
    run(&["events", "replay", "--module", "notification"]).await;
    run(&["events", "lag"]).await;
}
