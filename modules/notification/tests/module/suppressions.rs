//! Addresses that take no mail: learnt from their server, and unlearnt.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use contracts::identity::{
    CodePurpose, PasswordChange, PasswordChanged, SessionStarted, SignInMethod, UserRegistered,
};
use kernel::{SessionId, UserId};
use time::Duration;

use crate::support::{App, count, profiled, registered};

/// `tests/smtp_server.py`, which refuses `unknown@…` for good and tells `busy@…` to come back.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let python = std::env::var("BANYAN_TEST_PYTHON");
        let mut child = Command::new(python.as_deref().unwrap_or("/usr/bin/python3"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is installed: see scripts/install-test-tools.sh");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let port = lines.next().expect("a line").expect("UTF-8");
        // Read on, or the server would stand still at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.parse().expect("a port");
        Self { child, port }
    }

    async fn app(&self) -> App {
        App::start_with(&format!(
            "smtp_host = \"127.0.0.1\"\nsmtp_port = {}\nsmtp_tls = \"none\"\n\
             from_address = \"no-reply@banyan.test\"",
            self.port
        ))
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl App {
    async fn welcome(&self, email: &str) -> UserId {
        let user_id = UserId(self.world.uuid());
        let event = UserRegistered {
            email: email.to_owned(),
            ..registered(user_id, "en")
        };
        self.publish(&event).await;
        self.publish(&profiled(user_id, "en")).await;
        self.deliver_events().await;
        self.send_mails().await;
        user_id
    }

    async fn suppressed(&self) -> i64 {
        let mut conn = self.conn().await;
        count(&mut conn, "SELECT count(*) FROM notification.suppressions").await
    }

    /// Has the person told something by a service. What the mail's delivery ended as.
    async fn told(&self, user_id: UserId) -> String {
        let token = self.service_token("shop", "notifications:send");
        let request = serde_json::json!({
            "recipients": [user_id], "category": "product", "channels": ["email"],
            "content": { "title": "News", "body": "News." },
        });
        let path = "/api/v1/notifications/send";
        let (status, answer) = self.call("POST", path, &token, &[], Some(&request)).await;
        assert_eq!(status, 202);
        self.send_mails().await;
        let id = answer["deliveries"][0]["id"].as_str().unwrap().to_owned();
        sqlx::query_scalar("SELECT status FROM notification.deliveries WHERE id = $1::uuid")
            .bind(id)
            .fetch_one(self.pool())
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn an_address_that_was_refused_for_good_is_spared_until_it_is_proven() {
    let server = Server::start();
    let app = server.app().await;
    let ada = app.welcome("Unknown@example.org").await;
    assert_eq!(app.suppressed().await, 1);
    let reasons = app.published().await;
    assert!(reasons.iter().any(|(_, data)| data["reason"] == "bounced"));
    let (address, detail): (String, String) =
        sqlx::query_as("SELECT address, detail FROM notification.suppressions")
            .fetch_one(app.pool())
            .await
            .unwrap();
    assert_eq!(address, "unknown@example.org");
    assert!(detail.contains("5.1.1"), "{detail}");
    assert_eq!(app.told(ada).await, "suppressed");

    // A code is tried all the same: it is refused once more.
    let mut code = app.code(CodePurpose::SignIn, ada, "042917");
    code.recipient.as_mut().unwrap().email = "unknown@example.org".to_owned();
    app.publish(&code).await;
    app.deliver_events().await;
    app.send_mails().await;
    let mut conn = app.conn().await;
    let tried = "SELECT count(*) FROM notification.deliveries
                  WHERE template = 'sign_in_code' AND status = 'failed' AND attempts = 1";
    assert_eq!(count(&mut conn, tried).await, 1);

    // Whoever uses a code has read it, whether to sign in or to set a new password.
    let bounced = "INSERT INTO notification.suppressions
                       (id, address, reason, detail, delivery_id, created_at, expires_at)
                   SELECT gen_random_uuid(), 'unknown@example.org', 'bounce', 'x',
                          gen_random_uuid(), now(), 'infinity'
                   ON CONFLICT DO NOTHING";
    app.publish(&SessionStarted {
        user_id: ada,
        session_id: SessionId(app.world.uuid()),
        method: SignInMethod::Password,
        device: None,
        unfamiliar: false,
    })
    .await;
    app.deliver_events().await;
    assert_eq!(app.suppressed().await, 1, "a password proves no address");
    app.publish(&SessionStarted {
        user_id: ada,
        session_id: SessionId(app.world.uuid()),
        method: SignInMethod::Code,
        device: None,
        unfamiliar: false,
    })
    .await;
    app.deliver_events().await;
    assert_eq!(app.suppressed().await, 0);
    sqlx::query(bounced).execute(app.pool()).await.unwrap();
    let change = PasswordChange::Reset;
    app.publish(&PasswordChanged {
        user_id: ada,
        change,
    })
    .await;
    app.deliver_events().await;
    assert_eq!(app.suppressed().await, 0);
    sqlx::query(bounced).execute(app.pool()).await.unwrap();
    let again = UserRegistered {
        email: "unknown@example.org".to_owned(),
        ..registered(UserId(app.world.uuid()), "en")
    };
    app.publish(&again).await;
    app.deliver_events().await;
    assert_eq!(app.suppressed().await, 0);
}

#[tokio::test]
async fn what_may_pass_suppresses_nothing_and_a_suppression_ends() {
    let server = Server::start();
    let app = server.app().await;
    for address in ["busy@example.org", "spam@example.org", "ada@example.org"] {
        app.welcome(address).await;
    }
    assert_eq!(app.suppressed().await, 0);
    let mut conn = app.conn().await;
    let waiting = "SELECT count(*) FROM notification.deliveries
                    WHERE address LIKE 'busy%' AND status = 'queued' AND attempts = 1";
    assert_eq!(count(&mut conn, waiting).await, 1, "it is tried again");

    let ada = app.welcome("unknown@example.org").await;
    app.run_job("purge_suppressions").await;
    assert_eq!(app.suppressed().await, 1);
    app.clock.advance(Duration::days(91));
    // Past its end it counts no more, whether it was cleared away or not.
    assert_eq!(app.told(ada).await, "failed");
    app.clock.advance(Duration::days(91));
    app.run_job("purge_suppressions").await;
    assert_eq!(app.suppressed().await, 0);
}
