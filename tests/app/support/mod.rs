//! The real application on a fresh database, with a clock, randomness and delivery that the test
//! decides.

pub mod broker;
pub mod cluster;
pub mod host;
pub mod process;
pub mod relay;
pub mod service;
pub mod split;

use std::{path::Path, sync::Arc};

use banyan::{
    app::{App, Hosted},
    gateway::Gateway,
    keys,
    modules::MODULES,
};
use cluster::Databases;
use host::Host;
use kernel::TestClock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "correct horse battery staple";

/// Where the modules run: `one`, which is the default, or `five` processes.
const PLACES: &str = "BANYAN_TEST_PLACES";

/// Do the modules run apart from each other?
pub fn is_split() -> bool {
    match std::env::var(PLACES).as_deref() {
        Err(_) | Ok("one") => false,
        Ok("five") => true,
        Ok(other) => panic!("{PLACES} is \"one\" or \"five\", not {other:?}"),
    }
}

/// The application under test: one process with all modules, or, where `BANYAN_TEST_PLACES` is
/// "five", a gateway and a process per module, each on a database of its own, with NATS between
/// them. Tests do not know which.
///
/// The processes share the test's memory and its clock, and nothing of the program: each is an
/// [`App`] with its own configuration, keys, pools, bus and server.
pub struct TestApp {
    /// The one that people reach is the last.
    hosts: Vec<Host>,
    pub clock: Arc<TestClock>,
    pub url: String,
    pub http: reqwest::Client,
    pub databases: Databases,
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
        Self::on(&Databases::fresh().await, &[]).await
    }

    pub async fn with(variables: &[(&str, &str)]) -> Self {
        Self::on(&Databases::fresh().await, variables).await
    }

    /// With a file, for what variables cannot say. It is the configuration of the process that people
    /// reach.
    pub async fn configured(file: &str) -> Self {
        let mut given = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::io::Write::write_all(&mut given, file.as_bytes()).unwrap();
        Self::open(&Databases::fresh().await, &[], Some(given.path())).await
    }

    /// An instance on given databases: a second one beside another, or one after it.
    pub async fn on(databases: &Databases, variables: &[(&str, &str)]) -> Self {
        Self::open(databases, variables, None).await
    }

    async fn open(databases: &Databases, variables: &[(&str, &str)], file: Option<&Path>) -> Self {
        let clock = Arc::new(TestClock::default());
        let stop = CancellationToken::new();
        let names: Vec<_> = MODULES.iter().map(|module| module.name()).collect();
        let mut hosts: Vec<Host> = Vec::new();
        if is_split() {
            let nats = broker::url().await;
            let bus = [
                ("BANYAN__BUS__TRANSPORT", "nats"),
                ("BANYAN__BUS__NATS__URLS", &nats),
                ("BANYAN__BUS__NATS__PREFIX", &databases.name),
            ];
            let variables: Vec<_> = bus.iter().chain(variables).copied().collect();
            // Only the gateway is in front of them, and what it says of clients is believed.
            let mut behind = variables.clone();
            behind.push(("BANYAN__SERVER__TRUSTED_PROXIES", "127.0.0.0/8"));
            for name in &names {
                let host = Host::start(&[*name], databases, &behind, None, &clock, &stop).await;
                hosts.push(host);
            }
            let places: Vec<_> = hosts
                .iter()
                .zip(&names)
                .flat_map(|(host, name)| {
                    let section = format!("BANYAN__MODULES__{}", name.to_uppercase());
                    [
                        (format!("{section}__AT"), &host.url),
                        (format!("{section}__INTERNAL_AT"), &host.operations_url),
                    ]
                })
                .collect();
            let places = places.iter().map(|(key, url)| (&**key, &***url));
            let variables: Vec<_> = places.chain(variables).collect();
            // A gateway sends nobody to a process that is not ready.
            follow_keys(&hosts).await;
            let gateway = Host::start(&[], databases, &variables, file, &clock, &stop).await;
            hosts.push(gateway);
        } else {
            hosts.push(Host::start(&names, databases, variables, file, &clock, &stop).await);
        }
        follow_keys(&hosts[hosts.len() - 1..]).await;
        let app = Self {
            url: hosts.last().expect("at least one").url.clone(),
            hosts,
            clock,
            http: reqwest::Client::new(),
            databases: databases.clone(),
            stop,
        };
        app.deliver_events().await;
        app
    }

    /// The process that hosts a module.
    pub fn host_of(&self, module: &str) -> &Arc<App> {
        &self.host(module).app
    }

    fn host(&self, module: &str) -> &Host {
        let mut hosts = self.hosts.iter();
        hosts
            .find(|host| host.app.config.hosts(module))
            .unwrap_or_else(|| panic!("nobody hosts {module}"))
    }

    /// The process that people reach.
    pub fn edge(&self) -> &Arc<App> {
        &self.hosts.last().expect("at least one").app
    }

    /// The same, as that which asks modules.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.hosts.last().expect("at least one").gateway
    }

    /// Where the process of a module listens for operations.
    pub fn operations_of(&self, module: &str) -> &str {
        &self.host(module).operations_url
    }

    /// The same of the process that people reach.
    pub fn edge_operations(&self) -> &str {
        &self.hosts.last().expect("at least one").operations_url
    }

    /// The same of every process.
    pub fn all_operations(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &*host.operations_url)
    }

    /// Where the process of a module listens.
    pub fn url_of(&self, module: &str) -> &String {
        &self.host(module).url
    }

    /// Gives a module other internal routes.
    pub fn serve_internally(&mut self, module: &str, routes: axum::Router) {
        let mut hosts = self.hosts.iter_mut();
        let host = hosts.find(|host| host.app.config.hosts(module));
        let host = host.unwrap_or_else(|| panic!("nobody hosts {module}"));
        let mut hosted = host.hosted.iter_mut();
        let hosted = hosted.find(|hosted| hosted.db.module() == module);
        let hosted = hosted.expect("it started");
        hosted.internal = routes;
        host.app.slot(module).expect("it is hosted").up(hosted);
    }

    /// The modules, wherever they are.
    pub fn hosted(&self) -> impl Iterator<Item = &Hosted> {
        self.hosts.iter().flat_map(|host| &host.hosted)
    }

    /// As the superuser, where a module's tables are: to look where no module may.
    pub fn admin_of(&self, module: &str) -> PgPool {
        PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy_with(self.databases.of(module))
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
        deliver(&self.hosts).await;
    }

    /// Does the queued work that is due now.
    pub async fn run_workers(&self) {
        for module in self.hosted() {
            for worker in module.workers.iter().chain(&module.process_workers) {
                while worker.run.run().await.expect("the worker works") {}
            }
        }
    }

    /// Runs a timed job now.
    pub async fn run_job(&self, name: &str) {
        let job = self
            .hosted()
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
            .execute(&self.admin_of("identity"))
            .await
            .expect("the role is given");
        self.login(email).await
    }

    pub async fn count(&self, table: &'static str) -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        let module = table.split('.').next().expect("a schema's table");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&self.admin_of(module))
            .await
            .expect("a count")
    }
}

async fn deliver(hosts: &[Host]) {
    loop {
        let mut moved = false;
        for host in hosts {
            moved |= host.app.bus.deliver_some().await.expect("delivery works");
        }
        if !moved {
            return;
        }
    }
}

/// The first start of identity publishes the first signing key.
async fn follow_keys(hosts: &[Host]) {
    for host in hosts {
        keys::try_follow(&host.app)
            .await
            .expect("identity is there");
    }
    deliver(hosts).await;
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
        for host in &self.hosts {
            for module in &host.hosted {
                host.app.bus.detach(&module.attached);
            }
        }
        if std::thread::panicking() {
            return;
        }
        let databases = self.databases.clone();
        let leftovers = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(leftovers(databases))
        });
        let leftovers = leftovers.join().expect("the look at the database works");
        assert!(
            leftovers.is_empty(),
            "the test leaves behind: {leftovers:?}"
        );
    }
}

async fn leftovers(databases: Databases) -> Vec<String> {
    use sqlx::{ConnectOptions, Connection};
    let mut found = Vec::new();
    for module in MODULES {
        let database = databases.of(module.name());
        let mut conn = database.connect().await.expect("the database answers");
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
        conn.close().await.expect("closed");
    }
    found
}
