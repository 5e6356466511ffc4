//! Services: made by the operator, signing in by themselves, and shut out.

use std::path::{Path, PathBuf};

use banyan::{
    config::{Config, Sources},
    http_client, modules,
    service_token::{Error, ServiceToken},
};
use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, TestApp};

const TOKEN: &str = "/oauth/token";
const GRANT: &str = "grant_type=client_credentials";
/// Answers any principal that is signed in, and says 403 to one that is no person.
const ME: &str = "/api/v1/auth/me";

impl TestApp {
    /// `banyan service …`, as the command line runs it.
    async fn service(&self, words: &[&str]) -> anyhow::Result<()> {
        let module = modules::named("identity").expect("a module");
        let mut verbs = module.verbs().into_iter();
        let verb = verbs.find(|verb| verb.command.get_name() == "service");
        let verb = verb.expect("a verb");
        let words = [&["service"], words].concat();
        let arguments = verb.command.try_get_matches_from(words)?;
        let app = self.host_of("identity");
        let context = app.context(module);
        banyan::events::operator(app)
            .scope(verb.run.run(context, &arguments))
            .await
    }

    /// A service and its secret.
    async fn create(&self, id: &str, file: &Path) -> String {
        let create = [
            "create",
            id,
            "--name",
            "A program",
            "--scope",
            "b",
            "--scope",
            "a",
        ];
        let file_argument = ["--secret-file", file.to_str().expect("UTF-8")];
        let words = [&create[..], &file_argument].concat();
        self.service(&words).await.expect("it is made");
        self.deliver_events().await;
        read(file)
    }

    async fn sign_in(&self, id: &str, secret: &str, form: &str) -> Answer {
        let request = self
            .http
            .post(format!("{}{TOKEN}", self.url))
            .basic_auth(id, Some(secret));
        self.form(request, form).await
    }

    async fn form(&self, request: reqwest::RequestBuilder, form: &str) -> Answer {
        let response = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
            .send()
            .await
            .expect("the application answers");
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a whole answer"),
        }
    }
}

fn read(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("the secret is in the file");
    text.trim_end().to_owned()
}

fn token(answer: Answer) -> String {
    let body = answer.expect(200).json();
    body["access_token"].as_str().expect("a token").to_owned()
}

/// A folder for files of secrets, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("services-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_service_signs_in_and_is_known_by_its_token() {
    let (app, folder) = (TestApp::start().await, Folder::new("sign-in"));
    let secret = app.create("log-shipper", &folder.file("secret")).await;
    let answer = app.sign_in("log-shipper", &secret, GRANT).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 900);
    assert_eq!(body["scope"], "a b");
    assert!(body.get("refresh_token").is_none());
    let full = body["access_token"].as_str().unwrap();
    let principal = app.edge().verifier.verify(full).unwrap();
    assert_eq!(principal.actor(), "service:log-shipper");
    assert!(principal.has_scope("a") && principal.has_scope("b"));
    assert!(!principal.has_role("user"));
    // A person's own page is none of its business, and the way there knows who it is.
    app.get(ME, full).await.problem(403, "forbidden");

    let posted = format!("{GRANT}&client_id=log-shipper&client_secret={secret}&scope=b");
    let request = app.http.post(format!("{}{TOKEN}", app.url));
    let narrow = token(app.form(request, &posted).await);
    let principal = app.edge().verifier.verify(&narrow).unwrap();
    assert!(!principal.has_scope("a") && principal.has_scope("b"));

    app.clock.advance(time::Duration::minutes(15));
    app.get(ME, full).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn refusals_are_those_of_rfc_6749_and_tell_nothing_of_who_exists() {
    let (app, folder) = (TestApp::start().await, Folder::new("refusals"));
    let secret = app.create("log-shipper", &folder.file("secret")).await;
    let other = app.create("other", &folder.file("other")).await;
    let refused = |answer: Answer, error: &str| {
        let status = if error == "invalid_client" { 401 } else { 400 };
        assert_eq!(answer.headers["cache-control"], "no-store");
        let challenge = answer.headers.get("www-authenticate").cloned();
        assert_eq!(challenge.is_some(), status == 401);
        let problem = answer.problem(status, &error.replace('_', "-"));
        assert_eq!(problem["error"], error);
        assert!(problem["error_description"].is_string());
        problem
    };
    let wrong = app.sign_in("log-shipper", &other, GRANT).await;
    let unknown = app.sign_in("nobody", &other, GRANT).await;
    let malformed = app.sign_in("log-shipper", "hunter2", GRANT).await;
    let wrong = refused(wrong, "invalid_client");
    assert_eq!(wrong, refused(unknown, "invalid_client"));
    assert_eq!(wrong, refused(malformed, "invalid_client"));

    for (form, error) in [
        (format!("{GRANT}&scope=a+c"), "invalid_scope"),
        ("grant_type=password".to_owned(), "unsupported_grant_type"),
        ("x".repeat(9_000), "invalid_request"),
    ] {
        refused(app.sign_in("log-shipper", &secret, &form).await, error);
    }
    let body = serde_json::json!({ "grant_type": "client_credentials" });
    refused(app.post(TOKEN, body).await, "invalid_request");
    // The endpoint has one method, like any other.
    let answer = app.send(Method::GET, TOKEN, None, None, &[]).await;
    answer.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn guesses_at_secrets_count_against_their_network() {
    let app = TestApp::with(&[("BANYAN__GATEWAY__AUTH_REQUESTS_PER_MINUTE", "2")]).await;
    for _ in 0..2 {
        app.sign_in("edge", "guess", GRANT)
            .await
            .problem(401, "invalid-client");
    }
    app.sign_in("edge", "guess", GRANT)
        .await
        .problem(429, "too-many-requests");
}

#[tokio::test]
async fn creating_again_with_the_same_file_changes_nothing() {
    let (app, folder) = (TestApp::start().await, Folder::new("again"));
    let file = folder.file("secret");
    let secret = app.create("edge", &file).await;
    assert_eq!(app.create("edge", &file).await, secret);
    assert_eq!(app.count("identity.services").await, 1);
    app.sign_in("edge", &secret, GRANT).await.expect(200);

    let fails = async |words: &[&str], why: &str| {
        let error = app.service(words).await.expect_err("it is refused");
        let error = format!("{error:#}");
        assert!(error.contains(why), "{error}");
        assert!(!error.contains(&secret), "{error}");
    };
    let create = [
        "create", "edge", "--name", "E", "--scope", "a", "--scope", "b",
    ];
    fails(&create, "banyan service rotate edge").await;
    let elsewhere = folder.file("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    fails(
        &[&create[..], &["--secret-file", elsewhere]].concat(),
        "banyan service rotate edge",
    )
    .await;
    assert!(!Path::new(elsewhere).exists());
    let file = file.to_str().unwrap();
    fails(
        &[&create[..], &["--scope", "c", "--secret-file", file]].concat(),
        "has the scopes a b",
    )
    .await;
    let create = ["create", "other", "--name", "O", "--scope", "a"];
    fails(
        &[&create[..], &["--secret-file", file]].concat(),
        "the secret of another service",
    )
    .await;
    fails(
        &["create", "Edge", "--name", "E", "--scope", "a"],
        "lower-case",
    )
    .await;
    fails(&["create", "e", "--name", "E", "--scope", "a b"], "--scope").await;

    // A try that was interrupted after it wrote the file goes on with that.
    let (left, moved) = (
        folder.file("left"),
        app.create("first", &folder.file("f")).await,
    );
    std::fs::rename(folder.file("f"), &left).unwrap();
    sqlx::query("DELETE FROM identity.services WHERE client_id = 'first'")
        .execute(&app.admin_of("identity"))
        .await
        .unwrap();
    assert_eq!(app.create("second", &left).await, moved);
}

#[tokio::test]
async fn a_rotated_secret_has_an_overlap_or_takes_its_tokens_with_it() {
    let (app, folder) = (TestApp::start().await, Folder::new("rotate"));
    let file = folder.file("secret");
    let path = file.to_str().unwrap();
    let first = app.create("edge", &file).await;
    let old = token(app.sign_in("edge", &first, GRANT).await);

    let rotate = ["rotate", "edge", "--secret-file", path];
    app.service(&[&rotate[..], &["--overlap-seconds", "60"]].concat())
        .await
        .unwrap();
    app.deliver_events().await;
    let second = read(&file);
    assert_ne!(first, second);
    for secret in [&first, &second] {
        app.sign_in("edge", secret, GRANT).await.expect(200);
    }
    app.get(ME, &old).await.problem(403, "forbidden");
    app.clock.advance(time::Duration::seconds(61));
    app.sign_in("edge", &first, GRANT)
        .await
        .problem(401, "invalid-client");
    app.sign_in("edge", &second, GRANT).await.expect(200);

    // It leaked: what was issued for it goes with it, and what is issued from now on is good at
    // once, in the same second, too.
    app.service(&[&rotate[..], &["--overlap-seconds", "0"]].concat())
        .await
        .unwrap();
    app.deliver_events().await;
    let third = read(&file);
    app.sign_in("edge", &second, GRANT)
        .await
        .problem(401, "invalid-client");
    app.get(ME, &old).await.problem(401, "invalid-token");
    let new = token(app.sign_in("edge", &third, GRANT).await);
    app.get(ME, &new).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_disabled_service_is_shut_out_everywhere_and_for_good() {
    let (app, folder) = (TestApp::start().await, Folder::new("disable"));
    let file = folder.file("secret");
    let secret = app.create("edge", &file).await;
    let issued = token(app.sign_in("edge", &secret, GRANT).await);
    for _ in 0..2 {
        app.service(&["disable", "edge"]).await.unwrap();
    }
    app.deliver_events().await;
    app.sign_in("edge", &secret, GRANT)
        .await
        .problem(401, "invalid-client");
    app.get(ME, &issued).await.problem(401, "invalid-token");
    // Another process, whose memory is empty.
    let again = TestApp::on(&app.databases, &[]).await;
    again.get(ME, &issued).await.problem(401, "invalid-token");

    let path = file.to_str().unwrap();
    let scopes = ["--scope", "a", "--scope", "b"];
    let create = ["create", "edge", "--name", "E", "--secret-file", path];
    let error = app.service(&[&create[..], &scopes].concat()).await;
    assert!(error.unwrap_err().to_string().contains("is disabled"));
    assert!(app.service(&["rotate", "edge"]).await.is_err());
    assert!(app.service(&["disable", "nobody"]).await.is_err());
    app.service(&["list"]).await.unwrap();
}

#[tokio::test]
async fn the_audit_trail_tells_of_services_and_never_of_secrets() {
    let (app, folder) = (TestApp::start().await, Folder::new("audit"));
    let file = folder.file("secret");
    let path = file.to_str().unwrap();
    let first = app.create("edge", &file).await;
    app.service(&["rotate", "edge", "--secret-file", path])
        .await
        .unwrap();
    app.service(&["disable", "edge"]).await.unwrap();
    app.settle().await;
    let admin = app.admin("root@example.com").await;
    let page = app
        .get("/api/v1/audit?limit=100", &admin.access_token)
        .await;
    let page = page.expect(200);
    for secret in [first, read(&file)] {
        assert!(!page.text.contains(&secret));
    }
    let of_edge = |item: &&Value| item["target"] == "edge";
    let page = page.json();
    let actions: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of_edge)
        .collect();
    for item in &actions {
        assert!(
            item["actor"].as_str().unwrap().starts_with("operator:"),
            "{item}"
        );
    }
    let actions: Vec<_> = actions
        .iter()
        .map(|item| item["action"].as_str().unwrap())
        .collect();
    let expected = [
        "identity.service.disabled.v1",
        "identity.service.secret_rotated.v1",
        "identity.service.registered.v1",
    ];
    assert_eq!(actions, expected);
    app.settle().await;
}

#[tokio::test]
async fn a_process_signs_in_as_the_service_of_its_configuration() {
    let (app, folder) = (TestApp::start().await, Folder::new("process"));
    let file = folder.file("secret");
    app.create("edge", &file).await;
    let as_service = |id: &str| {
        let variables = [
            ("BANYAN__SERVER__PUBLIC_URL", app.url.as_str()),
            ("BANYAN__SERVICE__ID", id),
            ("BANYAN__SERVICE__SECRET_FILE", file.to_str().unwrap()),
        ];
        let sources = Sources {
            environment: Some("development".to_owned()),
            variables: variables
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Sources::default()
        };
        let config = Config::load(modules::MODULES, &sources).expect("a good configuration");
        ServiceToken::new(&config, http_client::client()).expect("a service is configured")
    };
    let edge = as_service("edge");
    let token = edge.get().await.unwrap();
    let principal = app.edge().verifier.verify(token.expose()).unwrap();
    assert_eq!(principal.actor(), "service:edge");
    let again = edge.get().await.unwrap();
    assert_eq!(token.expose(), again.expose());

    let refused = as_service("nobody").get().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Refused { code, .. } if code == "invalid_client"),
        "{refused}"
    );
    assert!(!refused.to_string().contains(&read(&file)));
}
