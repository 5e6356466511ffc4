//! A started module on a database of its own, and a hand on both publishers that it listens to.

use std::{path::Path, sync::Arc, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{Router, body::Body, http::Request, response::Response};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus::{Attached, Bus, Settings};
use contracts::{
    identity::{CodePurpose, CodeRecipient, CodeRequested, UserRegistered, VerificationRequested},
    profile::ProfileCreated,
};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::{
    Claims, Context, Db, Event, EventBus, Module, Secrets, SeededRandom, SessionId, Started,
    TestClock, UserId, Verifier, World, module::ConfigSection, secret::Key, telemetry::LogBuffer,
};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection, PgPool, postgres::PgConnectOptions};
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const MODULES: [&str; 3] = ["identity", "notification", "profile"];

/// One server for all tests of this binary. Its data stays under `target/` for the next run.
async fn server() -> &'static PgConnectOptions {
    static ADMIN: OnceCell<PgConnectOptions> = OnceCell::const_new();
    ADMIN
        .get_or_init(|| async {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            // On a runtime of its own: those of the tests come and go.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                runtime.block_on(async {
                    let data_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notification");
                    let options = embedded::Options {
                        data_dir,
                        fsync: false,
                        bin_dir: None,
                    };
                    let server = embedded::Server::open(options)
                        .await
                        .expect("PostgreSQL starts");
                    drop_leftovers(&server.admin()).await;
                    let _ = sender.send(server.admin());
                    std::future::pending::<()>().await;
                });
            });
            receiver.await.expect("the server is there")
        })
        .await
}

/// Databases of runs before this one. One that is in use stays.
async fn drop_leftovers(admin: &PgConnectOptions) {
    let mut admin = admin.connect().await.expect("it takes connections");
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'")
            .fetch_all(&mut admin)
            .await
            .expect("databases are listed");
    for name in names {
        let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"));
        let _ = sqlx::raw_sql(drop).execute(&mut admin).await;
    }
}

pub(crate) struct App {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) world: World,
    pub(crate) db: Db,
    pub(crate) shutdown: CancellationToken,
    pub(crate) started: Started,
    bus: Arc<Bus>,
    attached: Vec<Arc<Attached>>,
    identity: Db,
    profile: Db,
    secrets: Secrets,
    signing: EncodingKey,
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With keys of the section that differ from the defaults.
    pub(crate) async fn start_with(overrides: &str) -> Self {
        let admin = server().await;
        let name = format!("test_{}", World::system().uuid().simple());
        database::prepare(admin, &name, &MODULES, b"secret")
            .await
            .expect("it is prepared");
        let options = |role: String| {
            let password = database::role_password(b"secret", &role);
            admin
                .clone()
                .database(&name)
                .username(&role)
                .password(&password)
        };
        let none = sqlx::migrate::Migrator::DEFAULT;
        for module in MODULES {
            let migrations = match module {
                "notification" => notification::Module.migrations(),
                _ => &none,
            };
            let owner = options(database::owner_role(module));
            database::migrate(&owner, module, migrations)
                .await
                .expect("it is migrated");
        }

        let clock = Arc::new(TestClock::default());
        let world = World {
            clock: clock.clone(),
            random: Arc::new(SeededRandom::new(7)),
        };
        // Nobody waits for another instance's lease here.
        let settings = Settings {
            poll: Duration::from_millis(20),
            ..Settings::default()
        };
        let bus = Bus::new(world.uuid(), settings, None);
        let db = |module: &str| {
            let options = options(database::runtime_role(module));
            let pool = || database::pool_options(4).connect_lazy_with(options.clone());
            Db::new(
                module,
                pool(),
                pool(),
                bus.clone() as Arc<dyn EventBus>,
                world.clone(),
            )
        };
        let (identity, profile, notification) = (db("identity"), db("profile"), db("notification"));

        let (signing, jwk) = signing_key();
        let verifier = Verifier::new("https://banyan.test", "banyan", world.clone());
        verifier.set_caught_up();
        verifier.add_key(&jwk).expect("the key fits");
        let mut config: toml::Table = notification::Module
            .default_config()
            .parse()
            .expect("the defaults are TOML");
        config.extend(
            overrides
                .parse::<toml::Table>()
                .expect("the overrides are TOML"),
        );
        let (master, sealing) = (Key::new([1; 32]), Key::new([2; 32]));
        let shutdown = CancellationToken::new();
        let context = Context {
            db: notification.clone(),
            world: world.clone(),
            config: ConfigSection::new("notification", config),
            secrets: Secrets::for_module(&master, &sealing, "notification"),
            verifier: Arc::new(verifier),
            public_url: "http://localhost:8080".parse().expect("a URL"),
            product_name: "Banyan".into(),
            serving: true,
            development: true,
            modules: Arc::new(MODULES.map(str::to_owned)),
            logs: Arc::new(LogBuffer::new(1_000)),
            data_dir: std::env::temp_dir(),
            shutdown: shutdown.clone(),
        };
        notification::Module
            .check_config(&context.config, context.development)
            .expect("the configuration is valid");
        let mut started = notification::Module
            .start(context)
            .await
            .expect("it starts");
        let mut attached = Vec::new();
        for (db, subscriptions) in [
            (&identity, Vec::new()),
            (&profile, Vec::new()),
            (&notification, std::mem::take(&mut started.subscriptions)),
        ] {
            let module = bus.attach(db.clone(), subscriptions, Vec::new()).await;
            attached.push(module.expect("it is attached"));
        }
        let secrets = Secrets::for_module(&master, &sealing, "identity");
        Self {
            clock,
            world,
            db: notification,
            shutdown,
            started,
            bus,
            attached,
            identity,
            profile,
            secrets,
            signing,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.db.pool()
    }

    pub(crate) async fn conn(&self) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
        self.pool().acquire().await.expect("a connection")
    }

    /// Publishes as identity or profile would, by the event's type, and delivers nothing yet.
    pub(crate) async fn publish<E: Event>(&self, event: &E) {
        let db = if E::TYPE.starts_with("identity.") {
            &self.identity
        } else {
            &self.profile
        };
        let mut tx = db.begin().await.expect("a transaction");
        tx.publish(event);
        tx.commit().await.expect("it commits");
    }

    pub(crate) async fn deliver_events(&self) {
        self.bus
            .deliver_pending()
            .await
            .expect("events are delivered");
    }

    /// Runs the worker until nothing is due.
    pub(crate) async fn send_mails(&self) {
        let worker = &self.started.workers[0];
        while worker.run.run().await.expect("it runs") {}
    }

    pub(crate) async fn run_job(&self, name: &str) {
        let job = self
            .started
            .jobs
            .iter()
            .find(|job| job.name == name)
            .expect("there is the job");
        job.run.run().await.expect("it runs");
    }

    /// An account and its profile, welcomed.
    pub(crate) async fn register(&self, locale: &str) -> UserId {
        let user_id = UserId(self.world.uuid());
        self.publish(&registered(user_id, locale)).await;
        self.publish(&profiled(user_id, locale)).await;
        self.deliver_events().await;
        user_id
    }

    /// `VerificationRequested` with a code, good for a quarter of an hour.
    pub(crate) fn verification(&self, email: &str, code: &str) -> VerificationRequested {
        let registration_id = self.world.uuid();
        let context = format!("verification:{registration_id}");
        VerificationRequested {
            registration_id,
            email: email.to_owned(),
            display_name: Some("https://evil.example".to_owned()),
            locale: "en".to_owned(),
            code: self
                .secrets
                .sealer()
                .seal(&self.world, &context, &code.to_owned()),
            expires_at: self.world.now() + time::Duration::minutes(15),
        }
    }

    /// `CodeRequested` with a code, good for a quarter of an hour.
    pub(crate) fn code(&self, purpose: CodePurpose, user_id: UserId, code: &str) -> CodeRequested {
        let code_id = self.world.uuid();
        let sealer = self.secrets.sealer();
        CodeRequested {
            code_id,
            purpose,
            recipient: Some(CodeRecipient {
                user_id,
                email: "ada@example.org".to_owned(),
                locale: "en".to_owned(),
                code: sealer.seal(&self.world, &format!("code:{code_id}"), &code.to_owned()),
            }),
            expires_at: self.world.now() + time::Duration::minutes(15),
        }
    }

    pub(crate) fn token(&self, user_id: UserId) -> String {
        self.token_with(user_id, "", &[])
    }

    pub(crate) fn token_with(&self, user_id: UserId, scope: &str, roles: &[&str]) -> String {
        let session = SessionId(self.world.uuid());
        self.signed(&user_id.to_string(), Some(session), scope, roles)
    }

    pub(crate) fn service_token(&self, client_id: &str, scope: &str) -> String {
        self.signed(client_id, None, scope, &[])
    }

    fn signed(&self, sub: &str, sid: Option<SessionId>, scope: &str, roles: &[&str]) -> String {
        let now = self.world.now().unix_timestamp();
        let claims = Claims {
            iss: "https://banyan.test".to_owned(),
            sub: sub.to_owned(),
            aud: "banyan".to_owned(),
            exp: now + 300,
            iat: now,
            jti: self.world.uuid(),
            client_id: "test".to_owned(),
            scope: scope.to_owned(),
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            sid,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(kernel::token::TOKEN_TYPE.to_owned());
        header.kid = Some("test".to_owned());
        jsonwebtoken::encode(&header, &claims, &self.signing).expect("it is signed")
    }

    /// A request with a token, headers and a JSON body. Status and body of the answer.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        json: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body_in = json.map_or_else(Body::empty, |json| Body::from(json.to_string()));
        if json.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body_in).expect("a request");
        let response = self.router().oneshot(request).await;
        let response = response.expect("routers do not fail");
        let status = response.status().as_u16();
        let text = body(response).await;
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    pub(crate) fn router(&self) -> Router {
        self.started.router.clone()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, user: Option<UserId>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(user_id) = user {
            request = request.header("authorization", format!("Bearer {}", self.token(user_id)));
        }
        let request = request.body(Body::empty()).expect("a request");
        self.router()
            .oneshot(request)
            .await
            .expect("routers do not fail")
    }

    pub(crate) async fn get(&self, path: &str, user: Option<UserId>) -> (u16, Value) {
        let response = self.send("GET", path, user).await;
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_slice(&body(response).await).unwrap_or(Value::Null),
        )
    }

    /// The mails in the mailbox, newest first.
    pub(crate) async fn mails(&self) -> Vec<Value> {
        let (status, mails) = self.get("/dev/mailbox/messages", None).await;
        assert_eq!(status, 200);
        mails.as_array().expect("a list").clone()
    }

    /// What the module has published, by type and data, in order.
    pub(crate) async fn published(&self) -> Vec<(String, Value)> {
        self.deliver_events().await;
        sqlx::query_as("SELECT type, data FROM notification.log ORDER BY pos")
            .fetch_all(self.pool())
            .await
            .expect("the log can be read")
    }
}

impl Drop for App {
    /// The bus knows the modules and the modules know the bus: without this, neither goes, nor do
    /// their connections.
    fn drop(&mut self) {
        self.shutdown.cancel();
        for attached in &self.attached {
            self.bus.detach(attached);
        }
    }
}

pub(crate) async fn body(response: Response) -> Vec<u8> {
    response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes()
        .to_vec()
}

/// The inside of a page.
pub(crate) fn inside(body: Vec<u8>) -> String {
    let fragment: kernel::Fragment = serde_json::from_slice(&body).expect("a fragment");
    fragment.html
}

pub(crate) fn registered(user_id: UserId, locale: &str) -> UserRegistered {
    UserRegistered {
        user_id,
        email: format!("{}@example.org", user_id.0.simple()),
        display_name: Some("Ada".to_owned()),
        locale: locale.to_owned(),
        time_zone: "Europe/Vienna".to_owned(),
        roles: Vec::new(),
    }
}

pub(crate) fn profiled(user_id: UserId, locale: &str) -> ProfileCreated {
    ProfileCreated {
        user_id,
        display_name: Some("Ada".to_owned()),
        locale: locale.to_owned(),
        time_zone: "Europe/Vienna".to_owned(),
    }
}

/// One number from one query.
pub(crate) async fn count(conn: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(conn)
        .await
        .expect("a number")
}

fn signing_key() -> (EncodingKey, jsonwebtoken::jwk::Jwk) {
    let document =
        Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).expect("a key pair");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key pair");
    let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "test", "x": x });
    let jwk = serde_json::from_value(jwk).expect("a key");
    (EncodingKey::from_ed_der(document.as_ref()), jwk)
}

pub(crate) fn parse_time(value: &Value) -> OffsetDateTime {
    let text = value.as_str().expect("a time");
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("a time")
}
