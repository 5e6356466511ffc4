//! The real application on a fresh database, with a clock, randomness and delivery that the test
//! decides.

pub mod cluster;
pub mod process;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use banyan::{
    app::{App, Hosted},
    config::{Config, Sources},
    gateway::{Gateway, server},
    keys,
    modules::MODULES,
    places::Places,
    secrets::Keys,
    work::Roles,
};
use kernel::{Secret, SeededRandom, TestClock, World, telemetry::LogBuffer};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "correct horse battery staple";

static SEED: AtomicU64 = AtomicU64::new(1);

/// One instance of the application.
pub struct TestApp {
    pub app: Arc<App>,
    pub clock: Arc<TestClock>,
    pub hosted: Vec<Hosted>,
    pub url: String,
    pub http: reqwest::Client,
    /// As the superuser: to look where no module may.
    pub admin: PgPool,
    pub database: PgConnectOptions,
    stop: CancellationToken,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("{} is not JSON: {}", self.status, self.text))
    }

    /// Fails the test when the status is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// A problem document of this status and type.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let body = answer.json();
        assert_eq!(body["type"], format!("/problems/{kind}"), "{body}");
        assert_eq!(body["status"], status);
        body
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("a text header")
    }
}

/// Someone who signed up.
#[derive(Clone, Debug)]
pub struct Person {
    pub user_id: String,
    pub access_token: String,
    pub refresh_token: String,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::on(cluster::fresh_database().await, &[]).await
    }

    pub async fn with(variables: &[(&str, &str)]) -> Self {
        Self::on(cluster::fresh_database().await, variables).await
    }

    /// An instance on a given database: a second one beside another, or one after it.
    pub async fn on(database: PgConnectOptions, variables: &[(&str, &str)]) -> Self {
        let clock = Arc::new(TestClock::default());
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        let world = World {
            clock: Arc::clone(&clock) as _,
            random: Arc::new(SeededRandom::new(seed)),
        };
        let mut given: BTreeMap<String, String> = [
            ("BANYAN__IDENTITY__HASH_MEMORY_KIB", "8192"),
            ("BANYAN__IDENTITY__HASH_PASSES", "1"),
            ("BANYAN__DATABASE__POOL_SIZE", "4"),
            ("BANYAN__DATABASE__BUS_POOL_SIZE", "4"),
        ]
        .into_iter()
        .chain(variables.iter().copied())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("data-{}-{seed}", std::process::id()));
        given.insert(
            "BANYAN__SERVER__DATA_DIR".into(),
            folder.to_string_lossy().into_owned(),
        );
        let sources = Sources {
            environment: Some("development".to_owned()),
            variables: given,
            ..Sources::default()
        };
        let config = Config::load(MODULES, &sources).expect("the test's configuration is good");
        let keys = Keys {
            master: kernel::secret::Key::new([1; 32]),
            sealing: kernel::secret::Key::new([2; 32]),
            role_secret: Secret::new(cluster::ROLE_SECRET),
        };
        let logs = Arc::new(LogBuffer::new(10_000));
        let places = Places::at(database.clone(), Secret::new(cluster::ROLE_SECRET));
        let settings = bus::Settings::default();
        let app = App::assemble(config, world, logs, keys, places, settings, None);
        let app = Arc::new(app);
        let mut hosted = Vec::new();
        for slot in app.slots() {
            let module = app.host(slot, true).await;
            let module = module.unwrap_or_else(|e| panic!("{} starts: {e:#}", slot.name()));
            slot.up(&module);
            hosted.push(module);
        }
        keys::try_follow(&app).await.expect("identity is there");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let stop = CancellationToken::new();
        {
            let (gateway, stop) = (Gateway::new(Arc::clone(&app), Roles::All), stop.clone());
            let config = app.config.host.server.clone();
            tokio::spawn(async move {
                server::serve(listener, gateway, &config, stop).await;
            });
        }
        let admin = PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy_with(database.clone());
        let http = reqwest::Client::new();
        let app = Self {
            app,
            clock,
            hosted,
            url,
            http,
            admin,
            database,
            stop,
        };
        // The first start publishes the first signing key.
        app.deliver_events().await;
        app
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("the application answers");
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a whole answer"),
        }
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, Some(token), None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, None, Some(body), &[]).await
    }

    /// Handles what is pending on the bus now, and what follows from it.
    pub async fn deliver_events(&self) {
        self.app
            .bus
            .deliver_pending()
            .await
            .expect("delivery works");
    }

    /// Does the queued work that is due now.
    pub async fn run_workers(&self) {
        for module in &self.hosted {
            for worker in module.workers.iter().chain(&module.process_workers) {
                while worker.run.run().await.expect("the worker works") {}
            }
        }
    }

    /// Runs a timed job now.
    pub async fn run_job(&self, name: &str) {
        let job = self
            .hosted
            .iter()
            .flat_map(|module| &module.jobs)
            .find(|job| job.name == name);
        job.unwrap_or_else(|| panic!("there is no job {name}"))
            .run
            .run()
            .await
            .expect("the job");
    }

    /// Events and work, until each has seen what the other left.
    pub async fn settle(&self) {
        for _ in 0..4 {
            self.deliver_events().await;
            self.run_workers().await;
        }
        self.deliver_events().await;
    }

    pub async fn mails(&self) -> Vec<Value> {
        let answer = self
            .send(Method::GET, "/dev/mailbox/messages", None, None, &[])
            .await
            .expect(200);
        answer.json().as_array().expect("a list").clone()
    }

    /// The newest mail to an address.
    pub async fn mail_to(&self, email: &str) -> Value {
        self.settle().await;
        let mails = self.mails().await;
        let found = mails
            .iter()
            .find(|mail| mail["to"].as_str().is_some_and(|to| to.contains(email)));
        found
            .unwrap_or_else(|| panic!("no mail to {email} in {mails:#?}"))
            .clone()
    }

    pub async fn code_for(&self, email: &str) -> String {
        let mail = self.mail_to(email).await;
        six_digits(mail["text"].as_str().expect("a text"))
    }

    pub async fn register(&self, email: &str) -> String {
        let body = json!({ "email": email, "password": PASSWORD, "display_name": "Ada" });
        let answer = self
            .post("/api/v1/auth/registrations", body)
            .await
            .expect(202);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    pub async fn sign_up(&self, email: &str) -> Person {
        let id = self.register(email).await;
        let code = self.code_for(email).await;
        let path = format!("/api/v1/auth/registrations/{id}/verify");
        let tokens = self
            .post(&path, json!({ "code": code }))
            .await
            .expect(201)
            .json();
        self.settle().await;
        person(&tokens)
    }

    pub async fn login(&self, email: &str) -> Person {
        let body = json!({ "email": email, "password": PASSWORD });
        let tokens = self
            .post("/api/v1/auth/login", body)
            .await
            .expect(200)
            .json();
        person(&tokens)
    }

    /// Someone with the role admin, signed in.
    pub async fn admin(&self, email: &str) -> Person {
        let person = self.sign_up(email).await;
        sqlx::query("UPDATE identity.users SET roles = '{admin,user}' WHERE user_id = $1::uuid")
            .bind(&person.user_id)
            .execute(&self.admin)
            .await
            .expect("the role is given");
        self.login(email).await
    }

    pub async fn count(&self, table: &'static str) -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&self.admin)
            .await
            .expect("a count")
    }
}

fn person(tokens: &Value) -> Person {
    let text = |name: &str| tokens[name].as_str().expect("a text").to_owned();
    Person {
        user_id: text("user_id"),
        access_token: text("access_token"),
        refresh_token: text("refresh_token"),
    }
}

/// The code in a mail's text.
#[track_caller]
pub fn six_digits(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_digit());
    words
        .into_iter()
        .find(|w| w.len() == 6)
        .unwrap_or_else(|| panic!("no code in: {text}"))
        .to_owned()
}

impl Drop for TestApp {
    /// A test that leaves events undelivered or parked has not looked at everything it caused.
    fn drop(&mut self) {
        self.stop.cancel();
        // The bus holds its modules and they hold it: their connections would stay open.
        for module in &self.hosted {
            self.app.bus.detach(&module.attached);
        }
        if std::thread::panicking() {
            return;
        }
        let database = self.database.clone();
        let leftovers = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(leftovers(database))
        });
        let leftovers = leftovers.join().expect("the look at the database works");
        assert!(
            leftovers.is_empty(),
            "the test leaves behind: {leftovers:?}"
        );
    }
}

async fn leftovers(database: PgConnectOptions) -> Vec<String> {
    use sqlx::{ConnectOptions, Connection};
    let mut conn = database.connect().await.expect("the database answers");
    let mut found = Vec::new();
    for module in MODULES {
        for table in ["outbox", "parked"] {
            let query = format!("SELECT count(*) FROM {}.{table}", module.name());
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .fetch_one(&mut conn)
                .await
                .expect("a count");
            if count > 0 {
                found.push(format!("{count} rows in {}.{table}", module.name()));
            }
        }
    }
    conn.close().await.expect("closed");
    found
}
