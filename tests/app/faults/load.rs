//! A steady load of registrations, logins, edits and reads, and what came of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use banyan::modules::MODULES;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::PATIENCE;
use crate::support::{PASSWORD, six_digits, split::Split};

/// Time that consistency may take once the last process is ready.
const CONSISTENT_WITHIN: Duration = Duration::from_secs(10);
/// What people do with accounts that they have, for each that is made.
const EDITS: usize = 3;

/// People at work.
pub struct Load {
    tally: Arc<Tally>,
    people: JoinSet<()>,
}

#[derive(Default)]
pub struct Tally {
    stop: AtomicBool,
    /// May the front door be missing?
    gateway_down: AtomicBool,
    next: AtomicU64,
    signed_up: AtomicU64,
    good: AtomicU64,
    /// 502, 503 and 504, with Retry-After.
    refused: AtomicU64,
    /// The connection could not be made or broke, while the gateway was killed.
    broken: AtomicU64,
    wrong: Mutex<Vec<String>>,
    /// The last refusals, for those who expect none.
    refusals: Mutex<VecDeque<String>>,
}

impl Tally {
    fn note(&self, refusal: String) {
        let mut refusals = self.refusals.lock().expect("no holder panics");
        refusals.truncate(9);
        refusals.push_front(refusal);
    }
}

impl Load {
    pub fn start(split: &Split, people: usize) -> Self {
        let tally = Arc::new(Tally::default());
        let http = Client::builder()
            .timeout(Duration::from_secs(40))
            .build()
            .expect("a client");
        let mut workers = JoinSet::new();
        for _ in 0..people {
            let person = Person {
                http: http.clone(),
                urls: [split.url.clone()]
                    .into_iter()
                    .chain(split.second_url.clone())
                    .collect(),
                front_door: AtomicUsize::new(0),
                tally: Arc::clone(&tally),
            };
            workers.spawn(person.live());
        }
        Self {
            tally,
            people: workers,
        }
    }

    pub fn signed_up(&self) -> u64 {
        self.tally.signed_up.load(Ordering::SeqCst)
    }

    /// From now on connections may break, or no longer.
    pub fn gateway_may_be_down(&self, down: bool) {
        self.tally.gateway_down.store(down, Ordering::SeqCst);
    }

    /// Waits until so many more have signed up.
    pub async fn more(&self, people: u64) {
        let wanted = self.signed_up() + people;
        let begun = Instant::now();
        while self.signed_up() < wanted {
            assert!(
                begun.elapsed() < PATIENCE,
                "nobody signs up: {}",
                self.report()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn report(&self) -> String {
        let tally = &self.tally;
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        format!(
            "{} signed up; {} answers good, {} refused in good order, {} connections broken with \
             the gateway; wrong: {:?}",
            count(&tally.signed_up),
            count(&tally.good),
            count(&tally.refused),
            count(&tally.broken),
            tally.wrong.lock().expect("no holder panics")
        )
    }

    /// The last requests that were refused in good order.
    pub fn refusals(&self) -> Vec<String> {
        let refusals = self.tally.refusals.lock().expect("no holder panics");
        refusals.iter().cloned().collect()
    }

    /// Ends it; every answer was right, or a refusal in good order.
    pub async fn stop(mut self) -> u64 {
        self.tally.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.people.join_next().await {
            ended.expect("a person does not panic");
        }
        println!("{}", self.report());
        let wrong = self.tally.wrong.lock().expect("no holder panics").clone();
        assert!(wrong.is_empty(), "{wrong:#?}");
        self.signed_up()
    }
}

struct Person {
    http: Client,
    /// As a balancer knows them.
    urls: Vec<String>,
    front_door: AtomicUsize,
    tally: Arc<Tally>,
}

impl Person {
    fn stopped(&self) -> bool {
        self.tally.stop.load(Ordering::SeqCst)
    }

    async fn live(self) {
        while !self.stopped() {
            let n = self.tally.next.fetch_add(1, Ordering::SeqCst);
            let email = format!("person{n}@example.com");
            // Once begun it is brought to an end: everybody has a right to an account.
            self.sign_up(&email).await;
            self.tally.signed_up.fetch_add(1, Ordering::SeqCst);
            let Some(token) = self.login(&email).await else {
                continue;
            };
            for edit in 0..EDITS {
                if self.stopped() {
                    return;
                }
                self.edit(&token, edit).await;
            }
        }
    }

    /// Sends; nothing when it was refused in good order, or could not be sent while the gateway was
    /// away. An answer that is neither that nor expected is wrong.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        more: &[(&str, String)],
        body: Option<Value>,
        expected: &[u16],
    ) -> Option<(u16, Option<String>, Value)> {
        let door = self.front_door.load(Ordering::SeqCst) % self.urls.len();
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.urls[door]));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in more {
            request = request.header(*name, value);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let sent = match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                let header =
                    |name: &str| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
                let (etag, retry) = (header("etag"), header("retry-after"));
                answer.text().await.map(|text| (status, etag, retry, text))
            }
            Err(error) => Err(error),
        };
        let (status, etag, retry, text) = match sent {
            Ok(answer) => answer,
            // Nobody listens there: a balancer takes the next.
            Err(error) if error.is_connect() && self.urls.len() > 1 => {
                self.front_door.fetch_add(1, Ordering::SeqCst);
                return None;
            }
            Err(error) => {
                if self.tally.gateway_down.load(Ordering::SeqCst) {
                    self.tally.broken.fetch_add(1, Ordering::SeqCst);
                } else {
                    self.wrong(format!("{method} {path}: {error:?}"));
                }
                self.pause().await;
                return None;
            }
        };
        let refused = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if refused && retry.is_some() {
            self.tally.refused.fetch_add(1, Ordering::SeqCst);
            self.tally.note(format!("{method} {path}: {status} {text}"));
            self.pause().await;
            return None;
        }
        if !expected.contains(&status.as_u16()) {
            self.wrong(format!("{method} {path}: {status} {text}"));
            self.pause().await;
            return None;
        }
        self.tally.good.fetch_add(1, Ordering::SeqCst);
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Some((status.as_u16(), etag, json))
    }

    fn wrong(&self, what: String) {
        let mut wrong = self.tally.wrong.lock().expect("no holder panics");
        if wrong.len() < 20 {
            wrong.push(what);
        }
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn sign_up(&self, email: &str) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            // The answer to a verification may have been lost after the account was made.
            if self.login(email).await.is_some() || self.try_sign_up(email).await {
                return;
            }
        }
        self.wrong(format!("{email} could not sign up"));
    }

    async fn try_sign_up(&self, email: &str) -> bool {
        let before = self.codes(email).await.unwrap_or_default();
        let body = json!({ "email": email, "password": PASSWORD });
        let path = "/api/v1/auth/registrations";
        let registered = self
            .ask(Method::POST, path, None, &[], Some(body), &[202])
            .await;
        let Some((_, _, registration)) = registered else {
            return false;
        };
        let id = registration["id"].as_str().expect("an id").to_owned();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(15) {
            let codes = self.codes(email).await.unwrap_or_default();
            if codes.len() > before.len() {
                let path = format!("/api/v1/auth/registrations/{id}/verify");
                let body = json!({ "code": codes[0] });
                // Of an earlier try, perhaps: its mail may come late.
                let verified = self
                    .ask(
                        Method::POST,
                        &path,
                        None,
                        &[],
                        Some(body),
                        &[201, 404, 409, 422],
                    )
                    .await;
                return matches!(verified, Some((201, ..)));
            }
            self.pause().await;
        }
        false
    }

    /// Of the mails to an address, the newest first.
    async fn codes(&self, email: &str) -> Option<Vec<String>> {
        let path = format!("/dev/mailbox/messages?to={email}");
        let (_, _, mails) = self
            .ask(Method::GET, &path, None, &[], None, &[200])
            .await?;
        let with_code =
            |mail: &&Value| mail["subject"].as_str().is_some_and(|s| s.contains("code"));
        let code = |mail: &Value| six_digits(mail["text"].as_str().expect("a text"));
        Some(
            mails
                .as_array()?
                .iter()
                .filter(with_code)
                .map(code)
                .collect(),
        )
    }

    async fn login(&self, email: &str) -> Option<String> {
        let body = json!({ "email": email, "password": PASSWORD });
        let (status, _, tokens) = self
            .ask(
                Method::POST,
                "/api/v1/auth/login",
                None,
                &[],
                Some(body),
                &[200, 401],
            )
            .await?;
        (status == 200).then(|| tokens["access_token"].as_str().expect("a token").to_owned())
    }

    /// Reads the profile and changes it. It may not be there yet, and an answer that was lost may
    /// have changed it.
    async fn edit(&self, token: &str, nr: usize) {
        let path = "/api/v1/profiles/me";
        let read = self
            .ask(Method::GET, path, Some(token), &[], None, &[200, 404])
            .await;
        let Some((200, Some(etag), _)) = read else {
            return;
        };
        let name = format!("Name {nr}");
        let edited = self
            .ask(
                Method::PATCH,
                path,
                Some(token),
                &[("if-match", etag)],
                Some(json!({ "display_name": name })),
                &[200, 412],
            )
            .await;
        if let Some((200, _, profile)) = edited
            && profile["display_name"] != *name
        {
            self.wrong(format!("an edit was not made: {profile}"));
        }
        self.ask(
            Method::GET,
            "/api/v1/notifications",
            Some(token),
            &[],
            None,
            &[200],
        )
        .await;
    }
}

/// Everybody has one account, one profile and one welcome mail, within the time allowed.
pub async fn assert_consistent(split: &Split, people: u64) {
    let begun = Instant::now();
    let mut databases = Vec::new();
    for module in MODULES.iter().map(|module| module.name()) {
        databases.push((module, split.database(module).await));
    }
    let counts = [
        ("identity", "SELECT count(*) FROM identity.users"),
        ("profile", "SELECT count(*) FROM profile.profiles"),
        (
            "notification",
            "SELECT count(*) FROM notification.deliveries \
             WHERE template = 'welcome' AND status = 'sent'",
        ),
    ];
    let mut found = Vec::new();
    loop {
        found.clear();
        for (module, query) in counts {
            let (_, conn) = databases
                .iter_mut()
                .find(|(name, _)| *name == module)
                .expect("a database");
            let count: i64 = sqlx::query_scalar(query)
                .fetch_one(conn)
                .await
                .expect("a count");
            found.push(u64::try_from(count).expect("positive"));
        }
        if found.iter().all(|count| *count == people) {
            break;
        }
        if begun.elapsed() > CONSISTENT_WITHIN {
            let (_, conn) = databases
                .iter_mut()
                .find(|(name, _)| *name == "notification")
                .expect("a database");
            let missing: Vec<String> = sqlx::query_scalar(
                "SELECT to_jsonb(d)::text FROM notification.deliveries d
                  WHERE template = 'welcome' AND status <> 'sent'",
            )
            .fetch_all(conn)
            .await
            .expect("rows");
            panic!(
                "{people} people, but users, profiles and welcome mails are {found:?}: {missing:#?}"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "{people} people consistent after {:.1} s",
        begun.elapsed().as_secs_f32()
    );
    for (module, conn) in &mut databases {
        let parked = format!("SELECT count(*) FROM {module}.parked");
        let parked: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(parked))
            .fetch_one(&mut *conn)
            .await
            .expect("a count");
        assert_eq!(parked, 0, "parked by {module}");
        if *module == "notification" {
            let twice: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM (SELECT 1 FROM notification.deliveries
                  WHERE template = 'welcome' GROUP BY address HAVING count(*) > 1) AS twice",
            )
            .fetch_one(conn)
            .await
            .expect("a count");
            assert_eq!(twice, 0, "welcome mails sent twice");
        }
    }
}
