//! A populated module moves under the load of the whole application, and comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use banyan::modules::MODULES;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use super::{MODULE, Two, becomes, run, text};
use crate::{
    processes::{insist, number, post, until},
    support::{PASSWORD, process::Process},
};

/// Requests that go on while the module moves, and what became of them.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// Of other modules: all well.
    others: AtomicU32,
    edits: AtomicU32,
    /// Of the module: answered, or told to come back.
    served: AtomicU32,
    put_off: AtomicU32,
}

impl Load {
    /// A light load: with a pause between two.
    async fn goes_on(&self) -> bool {
        tokio::time::sleep(Duration::from_millis(10)).await;
        !self.stop.load(Ordering::Relaxed)
    }

    async fn of_others(&self, url: &str, token: &str) {
        let http = Client::new();
        while self.goes_on().await {
            let keys = http.get(format!("{url}/.well-known/jwks.json"));
            assert_eq!(keys.send().await.unwrap().status(), 200);
            let ready = http.get(format!("{url}/health/ready"));
            assert_eq!(ready.send().await.unwrap().status(), 200);
            let me = format!("{url}/api/v1/profiles/me");
            let profile = http.get(&me).bearer_auth(token).send().await.unwrap();
            assert_eq!(profile.status(), 200);
            let version = profile.headers()["etag"].clone();
            let n = self.edits.load(Ordering::Relaxed);
            let edit = http
                .patch(&me)
                .bearer_auth(token)
                .header("if-match", version)
                .json(&json!({ "display_name": format!("Ada {n}") }));
            assert_eq!(edit.send().await.unwrap().status(), 200);
            self.edits.fetch_add(1, Ordering::Relaxed);
            self.others.fetch_add(4, Ordering::Relaxed);
        }
    }

    /// Registrations are identity's: each is taken, whether its mail can be sent now or later.
    async fn of_registrations(&self, url: &str, visitor: &str) {
        let mut n = 0;
        while self.goes_on().await {
            n += 1;
            let email = format!("{visitor}{n}@example.com");
            let body = json!({ "email": email, "password": PASSWORD });
            let answer = post(url, "/api/v1/auth/registrations", &body).await;
            assert!(matches!(answer, Some((202, _))), "{answer:?}");
            self.others.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn of_the_module(&self, url: &str, token: &str) {
        let http = Client::new();
        while self.goes_on().await {
            for path in ["/dev/mailbox/messages?to=x", "/api/v1/notifications"] {
                let request = http.get(format!("{url}{path}")).bearer_auth(token);
                let answer = request.send().await.unwrap();
                match answer.status() {
                    StatusCode::OK => self.served.fetch_add(1, Ordering::Relaxed),
                    StatusCode::SERVICE_UNAVAILABLE => {
                        assert!(answer.headers().contains_key("retry-after"));
                        let problem: Value = answer.json().await.unwrap();
                        assert_eq!(problem["status"], 503);
                        self.put_off.fetch_add(1, Ordering::Relaxed)
                    }
                    status => panic!("{path}: {status}"),
                };
            }
        }
    }
}

const WELCOMED: &str = "SELECT count(*) FROM notification.deliveries \
                        WHERE template = 'welcome' AND status = 'sent'";
const TWICE: &str = "SELECT count(*) FROM (SELECT 1 FROM notification.deliveries \
                     WHERE template = 'welcome' GROUP BY address HAVING count(*) > 1) AS twice";

/// Moves, changes the configuration and waits for the module, while people sign up, edit, and read.
async fn under_load(two: &Two, process: &Process, token: &str, to: &str, place: &str, crowd: &str) {
    let load = Arc::new(Load::default());
    let mut tasks = JoinSet::new();
    let given = || {
        let (url, token): (Arc<str>, Arc<str>) = (process.url.as_str().into(), token.into());
        (Arc::clone(&load), url, token)
    };
    let (others, url, token) = given();
    tasks.spawn(async move { others.of_others(&url, &token).await });
    let (registrations, url, _) = given();
    let visitor = format!("{crowd}-visitor");
    tasks.spawn(async move { registrations.of_registrations(&url, &visitor).await });
    let (module, url, token) = given();
    tasks.spawn(async move { module.of_the_module(&url, &token).await });
    let mut people = JoinSet::new();
    for n in 0..6 {
        let (_, url, _) = given();
        let email = format!("{crowd}{n}@example.com");
        people.spawn(async move { insist(&url, &email).await });
    }
    let told = two
        .ok(&["module", "move", MODULE, "--to", to, "--yes"])
        .await;
    println!("{told}");
    assert!(
        told.contains("neither database served the module"),
        "{told}"
    );
    assert!(
        !told.contains("shut out"),
        "the process stops by itself: {told}"
    );
    two.configure(place);
    // Everybody gets the mail with their code, from the new place.
    while let Some(person) = people.join_next().await {
        person.expect("everybody got an account");
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.expect("no request of another module failed");
    }
    let count = |count: &AtomicU32| count.load(Ordering::Relaxed);
    let (others, served, put_off) = (
        count(&load.others),
        count(&load.served),
        count(&load.put_off),
    );
    println!("{others} requests of others; of the module {served} served, {put_off} put off");
    assert!(others > 0 && served > 0 && put_off > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_populated_module_moves_under_load_and_comes_back() {
    let two = Two::new().await;
    let process = Process::serve(&two.data_dir.0).await;
    for n in 0..12 {
        insist(&process.url, &format!("person{n}@example.com")).await;
    }
    let (mut first, mut second) = (two.at_first().await, two.at_second().await);
    until(&mut first, WELCOMED, 12).await;
    populate(&mut first).await;
    let body = json!({ "email": "person0@example.com", "password": PASSWORD });
    let (_, tokens) = post(&process.url, "/api/v1/auth/login", &body)
        .await
        .unwrap();
    let token = tokens["access_token"].as_str().expect("a token");

    let to = two.elsewhere();
    under_load(&two, &process, token, &to, &to, "there").await;
    let users = number(&mut first, "SELECT count(*) FROM identity.users").await;
    assert_eq!(users, 18);
    until(&mut second, WELCOMED, users).await;
    settled(&mut first, &mut second).await;
    assert_eq!(two.may_write().await, (false, true));

    under_load(&two, &process, token, "default", "", "back").await;
    until(&mut first, WELCOMED, 24).await;
    assert_eq!(two.may_write().await, (true, false));
    assert_eq!(number(&mut first, TWICE).await, 0);
    // What only waited for its other half has gone on.
    until(&mut first, "SELECT count(*) FROM notification.parked", 3).await;
    // In the audit trail every sent mail stands once, and in the mailbox too.
    let sent = "SELECT (SELECT count(*) FROM logging.audit_entries
                         WHERE action = 'notification.message.sent.v1' AND data->>'channel' = 'email')
                     = (SELECT count(*) FROM notification.deliveries WHERE status = 'sent')
                   AND (SELECT count(*) FROM notification.mailbox)
                     = (SELECT count(*) FROM notification.deliveries)";
    becomes(&mut first, sent).await;
    two.ok(&["audit", "verify"]).await;
    assert!(process.stop().await.success());
    for conn in [first, second] {
        conn.close().await.unwrap();
    }
    two.stop().await;
}

/// More than people did: people who came before, what they were told, what waits for somebody.
async fn populate(conn: &mut PgConnection) {
    run(
        conn,
        "INSERT INTO notification.recipient_accounts (user_id, email, locale, registered_at)
         SELECT gen_random_uuid(), 'earlier' || n || '@example.com', 'en', now()
           FROM generate_series(1, 500) n;
         INSERT INTO notification.counters (user_id, last_number)
         SELECT user_id, 10 FROM notification.recipient_accounts WHERE email LIKE 'earlier%';
         INSERT INTO notification.notifications
                (id, user_id, number, kind, data, idempotency_key, event_id, created_at)
         SELECT gen_random_uuid(), user_id, n, 'welcome', '{}', user_id || '/' || n,
                gen_random_uuid(), now()
           FROM notification.counters, generate_series(1, 10) n WHERE last_number = 10;
         INSERT INTO notification.parked (subscription, topic, lane, pos, envelope, status, error)
         SELECT 'nobody', 'identity.user', 'lane' || n, n, '{\"quoted\": \"\\u00e9 \\n\"}', 'parked',
                'on purpose' FROM generate_series(1, 3) n",
    )
    .await;
}

/// What did not change is the same at both places.
async fn settled(first: &mut PgConnection, second: &mut PgConnection) {
    for what in [
        "SELECT md5(string_agg(n::text, '' ORDER BY n.id)) FROM notification.notifications n
          WHERE idempotency_key LIKE '%/%' AND kind = 'welcome' AND data = '{}'",
        "SELECT md5(string_agg(p::text, '' ORDER BY p.lane)) FROM notification.parked p
          WHERE subscription = 'nobody'",
        "SELECT md5(string_agg(l::text, '' ORDER BY l.pos)) FROM notification.log l
          WHERE pos <= 24",
    ] {
        assert_eq!(text(first, what).await, text(second, what).await, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_module_can_move() {
    let two = Two::new().await;
    let process = Process::serve(&two.data_dir.0).await;
    for n in 0..3 {
        insist(&process.url, &format!("person{n}@example.com")).await;
    }
    let (mut first, mut second) = (two.at_first().await, two.at_second().await);
    until(&mut first, WELCOMED, 3).await;
    assert!(process.stop().await.success());
    // Partitions that the target's migrations do not make.
    run(
        &mut first,
        "SELECT identity.roll_log('0');
         SELECT logging.ensure_partitions(now() - interval '2 days', 7);
         INSERT INTO logging.records (id, time, level, service, target, message, fields)
         SELECT nextval('logging.record_blocks') * 8192, now() - n * interval '1 hour', 9, 's', 't',
                'm', '{}'
           FROM generate_series(1, 30) n",
    )
    .await;
    let records = "SELECT count(*) FROM logging.records";
    let blocks = "SELECT last_value::text FROM logging.record_blocks";
    let block = text(&mut first, blocks).await;

    let to = two.elsewhere();
    let names: Vec<_> = MODULES.iter().map(|module| module.name()).collect();
    for name in &names {
        two.ok(&["module", "move", name, "--to", &to, "--yes"])
            .await;
    }
    assert_eq!(
        number(&mut first, records).await,
        number(&mut second, records).await
    );
    assert_eq!(text(&mut second, blocks).await, block);
    two.configure_all(&names, &to);
    let process = Process::serve(&two.data_dir.0).await;
    // Of those from before and of those from after, who they are is known.
    let body = json!({ "email": "person0@example.com", "password": PASSWORD });
    let answer = post(&process.url, "/api/v1/auth/login", &body).await;
    assert!(matches!(answer, Some((200, _))), "{answer:?}");
    insist(&process.url, "late@example.com").await;
    until(&mut second, WELCOMED, 4).await;
    two.ok(&["audit", "verify"]).await;
    assert!(process.stop().await.success());
    for conn in [first, second] {
        conn.close().await.unwrap();
    }
    two.stop().await;
}
