use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use http_body_util::BodyExt;
use kernel::module::*;
use kernel::secret::Key;
use kernel::*;
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tower::ServiceExt;
use tracing_subscriber::prelude::*;

#[derive(Default)]
struct FakeBus {
    events: Mutex<Vec<(String, Value)>>,
    writes: AtomicUsize,
}
#[async_trait::async_trait]
impl EventBus for FakeBus {
    async fn write_outbox(
        &self,
        _c: &mut sqlx::PgConnection,
        _m: &str,
        events: &[kernel::db::Outgoing],
    ) -> Result<(), sqlx::Error> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        for e in events {
            self.events.lock().unwrap().push((
                e.event_type.to_string(),
                serde_json::from_str(e.data.get()).unwrap(),
            ));
        }
        Ok(())
    }
    fn committed(&self, _m: &str) {}
    fn hint(&self, _h: Hint) {}
    fn hints(&self) -> tokio::sync::broadcast::Receiver<Hint> {
        tokio::sync::broadcast::channel(1).1
    }
    async fn broadcast(&self, _p: &Db, _b: Broadcast) -> Result<(), anyhow::Error> {
        Ok(())
    }
}

struct Count(Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>);
impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Count {
    fn on_event(&self, e: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if e.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::SeqCst);
            struct V(String);
            impl tracing::field::Visit for V {
                fn record_debug(&mut self, f: &tracing::field::Field, v: &dyn std::fmt::Debug) {
                    if f.name() == "summary" {
                        self.0 = format!("{v:?}");
                    }
                }
            }
            let mut v = V(String::new());
            e.record(&mut v);
            self.1.lock().unwrap().push(v.0);
        }
    }
}

struct App {
    router: axum::Router,
    bus: Arc<FakeBus>,
    clock: Arc<TestClock>,
    context: Context,
    notices: Vec<String>,
    jobs: Vec<Job>,
    restate: Arc<dyn Restate>,
    secrets: Secrets,
}

async fn app(pool: &PgPool, config: &[(&str, i64)], clock: Arc<TestClock>) -> App {
    let bus = Arc::new(FakeBus::default());
    let world = World {
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
    };
    let db = Db::new(
        "identity",
        pool.clone(),
        pool.clone(),
        bus.clone(),
        world.clone(),
    );
    let mut table: toml::Table = kernel::Module::default_config(&identity::Module)
        .parse()
        .unwrap();
    for (k, v) in config {
        table.insert(k.to_string(), (*v).into());
    }
    let secrets = Secrets::for_module(&Key::new([1; 32]), &Key::new([2; 32]), "identity");
    let context = Context {
        db,
        world: world.clone(),
        config: ConfigSection::new("identity", table),
        secrets: secrets.clone(),
        verifier: Arc::new(Verifier::new("http://localhost:8080", "banyan", world)),
        public_url: "http://localhost:8080".parse().unwrap(),
        development: true,
        modules: vec![].into(),
        logs: Arc::new(kernel::telemetry::LogBuffer::new(10)),
        data_dir: "/tmp".into(),
        shutdown: Default::default(),
    };
    let started = kernel::Module::start(&identity::Module, context.clone())
        .await
        .unwrap();
    App {
        router: started.router,
        bus,
        clock,
        context,
        notices: started.notices,
        jobs: started.jobs,
        restate: started.restate.unwrap(),
        secrets,
    }
}

impl App {
    async fn send(&self, req: Request<Body>) -> (StatusCode, Value, axum::http::HeaderMap) {
        let r = self.router.clone().oneshot(req).await.unwrap();
        let (p, b) = r.into_parts();
        let b = b.collect().await.unwrap().to_bytes();
        let v = serde_json::from_slice(&b)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&b).into()));
        (p.status, v, p.headers)
    }
    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let r = self
            .send(
                Request::post(path)
                    .header("content-type", "application/json")
                    .body(Body::from(body.to_string()))
                    .unwrap(),
            )
            .await;
        (r.0, r.1)
    }
    async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, Value) {
        let mut r = Request::get(path);
        if let Some(t) = token {
            r = r.header("authorization", format!("Bearer {t}"));
        }
        let r = self.send(r.body(Body::empty()).unwrap()).await;
        (r.0, r.1)
    }
    async fn form(&self, body: &str, hs: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut r =
            Request::post("/setup").header("content-type", "application/x-www-form-urlencoded");
        for (k, v) in hs {
            r = r.header(*k, *v);
        }
        let r = self
            .send(r.body(Body::from(body.to_string())).unwrap())
            .await;
        (r.0, r.1)
    }
    fn types(&self) -> Vec<String> {
        self.bus
            .events
            .lock()
            .unwrap()
            .iter()
            .map(|e| e.0.replace("identity.", ""))
            .collect()
    }
    fn clear(&self) {
        self.bus.events.lock().unwrap().clear();
        self.bus.writes.store(0, Ordering::SeqCst);
    }
    fn code(&self, id: &str) -> String {
        let events = self.bus.events.lock().unwrap();
        let e = events
            .iter()
            .rev()
            .find(|e| {
                e.0 == "identity.user.verification_requested.v1" && e.1["registration_id"] == id
            })
            .unwrap();
        let sealed: Sealed<String> = serde_json::from_value(e.1["code"].clone()).unwrap();
        self.secrets
            .sealer()
            .open(&format!("verification:{id}"), &sealed)
            .unwrap()
    }
    async fn register(&self, email: &str) -> String {
        let (s, b) = self
            .post(
                "/api/v1/auth/registrations",
                json!({"email": email, "password": "correct horse", "display_name": "Ada"}),
            )
            .await;
        assert_eq!(s, 202, "{b}");
        b["id"].as_str().unwrap().to_owned()
    }
    async fn job(&self, name: &str) {
        self.jobs
            .iter()
            .find(|j| j.name == name)
            .unwrap()
            .run
            .run()
            .await
            .unwrap();
    }
}

async fn wipe(admin: &PgPool) {
    for t in [
        "sessions",
        "users",
        "registrations",
        "signing_keys",
        "setup_codes",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM identity.{t}")))
            .execute(admin)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything() {
    let n = Arc::new(AtomicUsize::new(0));
    let log = Arc::new(Mutex::new(Vec::new()));
    tracing_subscriber::registry()
        .with(Count(n.clone(), log.clone()))
        .init();
    let admin = PgPool::connect("postgres://postgres@127.0.0.1:5499/banyan")
        .await
        .unwrap();
    wipe(&admin).await;
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .test_before_acquire(false)
        .connect("postgres://banyan_identity@127.0.0.1:5499/banyan")
        .await
        .unwrap();
    let clock = Arc::new(TestClock::default());
    let cheap: &[(&str, i64)] = &[("hash_memory_kib", 8192), ("hash_passes", 1)];
    // two instances start at once
    let (a, b) = tokio::join!(
        app(&pool, cheap, clock.clone()),
        app(&pool, cheap, clock.clone())
    );
    println!("notices: {:?} {:?}", a.notices, b.notices);
    println!("start events: {:?} {:?}", a.types(), b.types());
    assert_eq!(a.types().len() + b.types().len(), 1);
    let (s, jwks) = a.get("/.well-known/jwks.json", None).await;
    println!("{s} {jwks}");
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1);

    // setup
    let codes: Vec<String> = [&a, &b]
        .iter()
        .map(|x| x.notices[0].rsplit(' ').next().unwrap().to_owned())
        .collect();
    let (s, _) = a.get("/setup", None).await;
    assert_eq!(s, 200);
    let body = |code: &str| {
        format!("code={code}&email=admin%40example.org&password=correct+horse&display_name=")
    };
    let same: &[(&str, &str)] = &[("sec-fetch-site", "same-origin")];
    assert_eq!(a.form(&body(&codes[0]), &[]).await.0, 403);
    assert_eq!(a.form("x", same).await.0, 400);
    assert_eq!(a.form(&body("0000-0000-0000-0000"), same).await.0, 422);
    let mut good = None;
    for c in &codes {
        let (s, _) = a.form(&format!("code={c}&email=x&password=y"), same).await;
        assert_eq!(s, 422);
        let d = a
            .form(&format!("code={c}&email=x&password=y"), same)
            .await
            .1;
        if d.as_str().unwrap().contains("The password must have") {
            assert!(good.is_none());
            good = Some(c.clone());
        }
    }
    let good = good.unwrap();
    std::fs::write(
        "/tmp/pages/form.html",
        a.get("/setup", None).await.1.as_str().unwrap(),
    )
    .unwrap();
    std::fs::write(
        "/tmp/pages/errors.html",
        a.form(
            &format!("code={good}&email=x&password=y&display_name=Ada"),
            same,
        )
        .await
        .1
        .as_str()
        .unwrap(),
    )
    .unwrap();
    std::fs::write(
        "/tmp/pages/refused.html",
        a.form("", &[]).await.1.as_str().unwrap(),
    )
    .unwrap();
    a.clear();
    b.clear();
    let body_good = body(&good);
    let rs = tokio::join!(
        a.form(&body_good, same),
        b.form(&body_good, same),
        a.form(&body_good, &[("origin", "http://localhost:8080")])
    );
    for r in [&rs.0, &rs.1, &rs.2] {
        if r.0 == 201 {
            std::fs::write("/tmp/pages/done.html", r.1.as_str().unwrap()).unwrap();
        }
    }
    println!("setup race {:?}", [rs.0.0, rs.1.0, rs.2.0]);
    assert_eq!(
        [rs.0.0, rs.1.0, rs.2.0]
            .iter()
            .filter(|s| **s == 201)
            .count(),
        1
    );
    println!("{:?} {:?}", a.types(), b.types());
    assert_eq!(a.get("/setup", None).await.0, 404);
    assert_eq!(a.form(&body(&good), same).await.0, 404);
    assert!(app(&pool, cheap, clock.clone()).await.notices.is_empty());
    a.clear();

    // register + verify
    n.store(0, Ordering::SeqCst);
    log.lock().unwrap().clear();
    let id = a.register("Ada@Example.org").await;
    println!(
        "register: {} + {} {:?} {:?}",
        n.swap(0, Ordering::SeqCst),
        a.bus.writes.load(Ordering::SeqCst),
        a.types(),
        std::mem::take(&mut *log.lock().unwrap())
    );
    let code = a.code(&id);
    let wrong = if code == "111111" { "222222" } else { "111111" };
    let vp = format!("/api/v1/auth/registrations/{id}/verify");
    let unknown = a
        .post(
            &format!("/api/v1/auth/registrations/{}/verify", uuid::Uuid::now_v7()),
            json!({"code": code}),
        )
        .await;
    let w = a.post(&vp, json!({"code": wrong})).await;
    assert_eq!(unknown, w);
    assert_eq!(w.0, 422);
    println!("{}", w.1);
    a.clear();
    n.store(0, Ordering::SeqCst);
    let rs = tokio::join!(
        a.post(&vp, json!({"code": code})),
        b.post(&vp, json!({"code": code})),
        b.post(&vp, json!({"code": code}))
    );
    let rs = [rs.0, rs.1, rs.2];
    println!(
        "verify race {:?} {:?} {:?}",
        rs.iter().map(|r| r.0.as_u16()).collect::<Vec<_>>(),
        a.types(),
        b.types()
    );
    assert_eq!(rs.iter().filter(|r| r.0 == 201).count(), 1);
    assert_eq!(rs.iter().filter(|r| r.0 == 422).count(), 2);
    let tokens = rs.iter().find(|r| r.0 == 201).unwrap().1.clone();
    println!("{tokens}");
    n.store(0, Ordering::SeqCst);
    let (s, me) = a
        .get("/api/v1/auth/me", tokens["access_token"].as_str())
        .await;
    println!("me {s} {me} statements {}", n.swap(0, Ordering::SeqCst));
    assert_eq!(s, 200);
    assert_eq!(me["email"], "Ada@example.org");
    assert_eq!(a.get("/api/v1/auth/me", None).await.0, 401);

    // taken
    a.clear();
    n.store(0, Ordering::SeqCst);
    let id2 = a.register("ADA@example.org").await;
    println!(
        "register taken: {} + {} {:?}",
        n.swap(0, Ordering::SeqCst),
        a.bus.writes.load(Ordering::SeqCst),
        a.bus.events.lock().unwrap()
    );
    for c in ["123456", "000000", "111111", "222222", "333333", "444444"] {
        assert_eq!(
            a.post(
                &format!("/api/v1/auth/registrations/{id2}/verify"),
                json!({"code": c})
            )
            .await
            .0,
            422
        );
    }
    // limit 3 per address
    a.clear();
    for _ in 0..4 {
        a.register("ada@example.org").await;
    }
    assert_eq!(a.types().len(), 2);
    a.clear();
    let rs = futures_join((0..10).map(|_| a.register("race@example.org"))).await;
    println!(
        "{} parallel registrations mailed {}",
        rs.len(),
        a.types().len()
    );
    assert_eq!(a.types().len(), 3);

    // two registrations of one address race
    let ids: Vec<String> = a
        .bus
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|e| e.1["registration_id"].as_str().unwrap().to_owned())
        .collect();
    let codes: Vec<String> = ids.iter().map(|i| a.code(i)).collect();
    let rs = futures_join(ids.iter().zip(&codes).map(|(i, c)| {
        let a = &a;
        async move {
            a.post(
                &format!("/api/v1/auth/registrations/{i}/verify"),
                json!({"code": c}),
            )
            .await
        }
    }))
    .await;
    println!(
        "address race {:?}",
        rs.iter()
            .map(|r| (r.0.as_u16(), r.1["type"].clone()))
            .collect::<Vec<_>>()
    );
    assert_eq!(rs.iter().filter(|r| r.0 == 201).count(), 1);
    assert_eq!(rs.iter().filter(|r| r.0 == 409).count(), 2);
    // wrong code for other registration's code
    // attempts in parallel
    let id = a.register("brute@example.org").await;
    let code = a.code(&id);
    let vp = format!("/api/v1/auth/registrations/{id}/verify");
    let wrong = if code == "111111" { "222222" } else { "111111" };
    let rs = futures_join((0..20).map(|_| a.post(&vp, json!({"code": wrong})))).await;
    assert!(rs.iter().all(|r| r.0 == 422));
    assert_eq!(
        a.post(&vp, json!({"code": code})).await.0,
        422,
        "attempts used up"
    );
    let left: i16 = sqlx::query_scalar(
        "SELECT attempts_left FROM identity.registrations WHERE registration_id = $1",
    )
    .bind(uuid::Uuid::parse_str(&id).unwrap())
    .fetch_one(&admin)
    .await
    .unwrap();
    assert_eq!(left, 0);
    // resend
    a.clear();
    let rp = format!("/api/v1/auth/registrations/{id}/resend");
    assert_eq!(a.post(&rp, json!({})).await.0, 202);
    assert!(a.types().is_empty(), "pause");
    assert_eq!(
        a.post(
            &format!("/api/v1/auth/registrations/{}/resend", uuid::Uuid::now_v7()),
            json!({})
        )
        .await,
        a.post(&rp, json!({})).await
    );
    clock.advance(time::Duration::seconds(61));
    n.store(0, Ordering::SeqCst);
    assert_eq!(a.post(&rp, json!({})).await.0, 202);
    println!("resend {} + 1 {:?}", n.swap(0, Ordering::SeqCst), a.types());
    let new = a.code(&id);
    if new != code {
        assert_eq!(a.post(&vp, json!({"code": code})).await.0, 422);
    }
    assert_eq!(a.post(&vp, json!({"code": new})).await.0, 201);
    for _ in 0..9 {
        clock.advance(time::Duration::seconds(61));
        a.post(
            &format!("/api/v1/auth/registrations/{id2}/resend"),
            json!({}),
        )
        .await;
    }
    println!("after decoy resends {:?}", a.types());

    // login
    a.clear();
    n.store(0, Ordering::SeqCst);
    log.lock().unwrap().clear();
    let (s, t) = a
        .post(
            "/api/v1/auth/login",
            json!({"email": " ada@EXAMPLE.org", "password": "correct horse"}),
        )
        .await;
    assert_eq!(s, 200, "{t}");
    println!(
        "login {} + {} {:?} {:?}",
        n.swap(0, Ordering::SeqCst),
        a.bus.writes.load(Ordering::SeqCst),
        a.types(),
        log.lock().unwrap()
    );
    a.clear();
    let r1 = a
        .post(
            "/api/v1/auth/login",
            json!({"email": "ada@example.org", "password": "wrong horse"}),
        )
        .await;
    let r2 = a
        .post(
            "/api/v1/auth/login",
            json!({"email": "nobody@example.org", "password": "correct horse"}),
        )
        .await;
    assert_eq!(r1, r2);
    println!("{} {:?}", r1.1, a.bus.events.lock().unwrap());
    assert_eq!(r1.0, 401);
    assert_eq!(
        a.post(
            "/api/v1/auth/login",
            json!({"email": "x", "password": "correct horse"})
        )
        .await,
        r1
    );
    // refresh
    let r = |t: &Value| {
        let t = t["refresh_token"].clone();
        let a = &a;
        async move {
            a.post("/api/v1/auth/refresh", json!({"refresh_token": t}))
                .await
        }
    };
    a.clear();
    n.store(0, Ordering::SeqCst);
    let (s, t2) = r(&t).await;
    assert_eq!(s, 200);
    println!("refresh {} {:?}", n.swap(0, Ordering::SeqCst), a.types());
    let (s, t2b) = r(&t).await;
    assert_eq!(s, 200);
    assert_eq!(t2["refresh_token"], t2b["refresh_token"]);
    assert_ne!(t["refresh_token"], t2["refresh_token"]);
    let mut current = t2;
    for round in 0..50 {
        let rs = futures_join((0..16).map(|_| r(&current))).await;
        assert!(rs.iter().all(|x| x.0 == 200), "{round} {rs:?}");
        assert!(
            rs.iter()
                .all(|x| x.1["refresh_token"] == rs[0].1["refresh_token"])
        );
        current = rs[0].1.clone();
    }
    let (s, next) = r(&current).await;
    assert_eq!(s, 200);
    assert!(a.types().is_empty());
    n.store(0, Ordering::SeqCst);
    let (s, p) = r(&t2b).await;
    assert_eq!(s, 401);
    println!(
        "replay {} {p} {:?}",
        n.swap(0, Ordering::SeqCst),
        a.bus.events.lock().unwrap()
    );
    assert_eq!(r(&next).await.0, 401);
    assert_eq!(
        a.get("/api/v1/auth/me", next["access_token"].as_str())
            .await
            .0,
        401
    );
    assert_eq!(a.types().len(), 1);
    assert_eq!(
        a.post("/api/v1/auth/refresh", json!({"refresh_token": "x.1.y"}))
            .await
            .0,
        401
    );
    // logout
    a.clear();
    let (_, t) = a
        .post(
            "/api/v1/auth/login",
            json!({"email": "ada@example.org", "password": "correct horse"}),
        )
        .await;
    n.store(0, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(
            a.post(
                "/api/v1/auth/logout",
                json!({"refresh_token": t["refresh_token"]})
            )
            .await
            .0,
            204
        );
    }
    println!("logout x2 {} {:?}", n.swap(0, Ordering::SeqCst), a.types());
    assert_eq!(r(&t).await.0, 401);
    assert_eq!(
        a.post("/api/v1/auth/logout", json!({"refresh_token": "junk"}))
            .await
            .0,
        204
    );
    // session limit
    let small = app(
        &pool,
        &[
            ("hash_memory_kib", 8192),
            ("hash_passes", 1),
            ("max_sessions_per_user", 3),
        ],
        clock.clone(),
    )
    .await;
    let ts = futures_join((0..12).map(|_| {
        small.post(
            "/api/v1/auth/login",
            json!({"email": "ada@example.org", "password": "correct horse"}),
        )
    }))
    .await;
    assert!(ts.iter().all(|t| t.0 == 200));
    let cnt: i64 = sqlx::query_scalar("SELECT count(*) FROM identity.sessions s JOIN identity.users u USING (user_id) WHERE email_canonical='ada@example.org'").fetch_one(&admin).await.unwrap();
    println!("sessions after 12 parallel logins with limit 3: {cnt}");
    small
        .post(
            "/api/v1/auth/login",
            json!({"email": "ada@example.org", "password": "correct horse"}),
        )
        .await;
    let cnt: i64 = sqlx::query_scalar("SELECT count(*) FROM identity.sessions s JOIN identity.users u USING (user_id) WHERE email_canonical='ada@example.org'").fetch_one(&admin).await.unwrap();
    println!("then {cnt} {:?}", small.types());
    assert_eq!(cnt, 3);

    // idle expiry and jobs
    let (_, t) = a
        .post(
            "/api/v1/auth/login",
            json!({"email": "race@example.org", "password": "correct horse"}),
        )
        .await;
    clock.advance(time::Duration::days(13));
    let (s, t) = r(&t).await;
    assert_eq!(s, 200);
    clock.advance(time::Duration::days(13));
    let (s, t) = r(&t).await;
    assert_eq!(s, 200);
    clock.advance(time::Duration::days(14));
    assert_eq!(r(&t).await.0, 401);
    a.clear();
    a.job("end_expired_sessions").await;
    println!("expired {:?}", a.types().len());
    a.clear();
    a.job("end_expired_sessions").await;
    assert!(a.types().is_empty());
    a.job("purge_expired_registrations").await;
    let cnt: i64 = sqlx::query_scalar("SELECT count(*) FROM identity.registrations")
        .fetch_one(&admin)
        .await
        .unwrap();
    assert_eq!(cnt, 0);
    // keys rotate
    a.clear();
    let (x, y) = tokio::join!(a.jobs[0].run.run(), b.jobs[0].run.run());
    x.unwrap();
    y.unwrap();
    println!("rotation {:?} {:?}", a.types(), b.types());
    assert_eq!(a.types().len() + b.types().len(), 1);
    let kid = |t: &Value| {
        use base64::Engine;
        let h = t["access_token"]
            .as_str()
            .unwrap()
            .split('.')
            .next()
            .unwrap()
            .to_owned();
        serde_json::from_slice::<Value>(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(h).unwrap())
            .unwrap()["kid"]
            .clone()
    };
    let (_, t1) = a
        .post(
            "/api/v1/auth/login",
            json!({"email": "race@example.org", "password": "correct horse"}),
        )
        .await;
    clock.advance(time::Duration::minutes(14));
    a.job("rotate_signing_keys").await;
    let (_, t2) = a
        .post(
            "/api/v1/auth/login",
            json!({"email": "race@example.org", "password": "correct horse"}),
        )
        .await;
    assert_eq!(kid(&t1), kid(&t2));
    assert_eq!(
        a.get("/.well-known/jwks.json", None).await.1["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    clock.advance(time::Duration::minutes(2));
    let (_, t3) = b
        .post(
            "/api/v1/auth/login",
            json!({"email": "race@example.org", "password": "correct horse"}),
        )
        .await;
    assert_ne!(kid(&t1), kid(&t3));
    println!("kids {} {}", kid(&t1), kid(&t3));
    a.clear();
    clock.advance(time::Duration::minutes(50));
    a.job("rotate_signing_keys").await;
    assert!(a.types().is_empty());
    clock.advance(time::Duration::minutes(10));
    a.job("rotate_signing_keys").await;
    println!("{:?}", a.types());
    assert_eq!(a.types(), ["signing_key.retired.v1"]);
    // restate
    a.clear();
    let mut c = None;
    loop {
        c = a.restate.restate(c).await.unwrap();
        if c.is_none() {
            break;
        }
    }
    println!("{:?}", a.types());
    // verb
    a.clear();
    let verb = kernel::Module::verbs(&identity::Module).remove(0);
    for e in ["ada@example.org", "ADA@example.org"] {
        let m = verb
            .command
            .clone()
            .try_get_matches_from(["user", "create-admin", "--email", e, "--password-stdin"])
            .unwrap();
        verb.run.run(a.context.clone(), &m).await.unwrap();
    }
    println!("{:?}", a.types());
    assert_eq!(a.types(), ["user.role_granted.v1"]);
    verb.run
        .run(
            a.context.clone(),
            &verb
                .command
                .clone()
                .try_get_matches_from(["user", "list"])
                .unwrap(),
        )
        .await
        .unwrap();
    let _ = (&a.clock, header::ACCEPT);

    // timing: register taken/free, login known/unknown
    let real = Arc::new(
        app(
            &pool,
            &[("max_registrations_per_address", 100)],
            clock.clone(),
        )
        .await,
    );
    let id = real.register("known@example.org").await;
    assert_eq!(
        real.post(
            &format!("/api/v1/auth/registrations/{id}/verify"),
            json!({"code": real.code(&id)})
        )
        .await
        .0,
        201
    );
    let slow = real;
    let real = Arc::new(
        app(
            &pool,
            &[
                ("max_registrations_per_address", 100),
                ("hash_memory_kib", 8192),
                ("hash_passes", 1),
            ],
            clock.clone(),
        )
        .await,
    );
    let id = real.register("known2@example.org").await;
    assert_eq!(
        real.post(
            &format!("/api/v1/auth/registrations/{id}/verify"),
            json!({"code": real.code(&id)})
        )
        .await
        .0,
        201
    );
    let mut v = vec![vec![]; 4];
    for i in 0..600 {
        if i % 50 == 0 {
            sqlx::query("DELETE FROM identity.registrations")
                .execute(&admin)
                .await
                .unwrap();
        }
        for j in 0..4 {
            let k = (i + j) % 4;
            let at = std::time::Instant::now();
            match k {
                0 => {
                    real.register("known2@example.org").await;
                }
                1 => {
                    real.register(&format!("free{i}@example.org")).await;
                }
                2 => {
                    real.post(
                        "/api/v1/auth/login",
                        json!({"email": "known2@example.org", "password": "wrong horse"}),
                    )
                    .await;
                }
                _ => {
                    real.post("/api/v1/auth/login", json!({"email": format!("nobody{i}@example.org"), "password": "wrong horse"})).await;
                }
            }
            v[k].push(at.elapsed());
        }
    }
    let real = slow;
    for v in &mut v {
        v.sort();
    }
    println!(
        "register taken/free, login known/unknown: {:?}",
        v.iter().map(|v| v[v.len() / 2]).collect::<Vec<_>>()
    );
    // flood
    let at = std::time::Instant::now();
    let hs: Vec<_> = (0..2000).map(|i| { let real = real.clone(); tokio::spawn(async move { let at = std::time::Instant::now(); let r = real.post("/api/v1/auth/login", json!({"email": format!("nobody{i}@example.org"), "password": "wrong horse"})).await; (r.0, at.elapsed()) }) }).collect();
    let mut rs = vec![];
    for h in hs {
        rs.push(h.await.unwrap());
    }
    println!(
        "flood: 503 {} (slowest {:?}), 401 {} in {:?}",
        rs.iter().filter(|r| r.0 == 503).count(),
        rs.iter().filter(|r| r.0 == 503).map(|r| r.1).max(),
        rs.iter().filter(|r| r.0 == 401).count(),
        at.elapsed()
    );
    assert!(rs.iter().all(|r| r.0 == 503 || r.0 == 401));
    let t = real
        .post(
            "/api/v1/auth/login",
            json!({"email": "known@example.org", "password": "correct horse"}),
        )
        .await
        .1;
    let at = std::time::Instant::now();
    let mut t = t;
    for _ in 0..500 {
        t = real
            .post(
                "/api/v1/auth/refresh",
                json!({"refresh_token": t["refresh_token"]}),
            )
            .await
            .1;
    }
    println!("500 serial refreshes {:?}", at.elapsed());
    let rss = || {
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find(|l| l.starts_with("VmRSS"))
            .unwrap()
            .to_owned()
    };
    let busy = rss();
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    println!("{busy} -> {}", rss());
    real.post(
        "/api/v1/auth/login",
        json!({"email": "ada@example.org", "password": "wrong horse"}),
    )
    .await;
    let busy = rss();
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    println!("{busy} -> {}", rss());
    wipe(&admin).await;
}

async fn futures_join<F: Future>(fs: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut fs: Vec<_> = fs.into_iter().map(Box::pin).collect();
    let mut out: Vec<Option<F::Output>> = fs.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut done = true;
        for (f, o) in fs.iter_mut().zip(&mut out) {
            if o.is_none() {
                match f.as_mut().poll(cx) {
                    std::task::Poll::Ready(v) => *o = Some(v),
                    std::task::Poll::Pending => done = false,
                }
            }
        }
        if done {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    out.into_iter().map(Option::unwrap).collect()
}
