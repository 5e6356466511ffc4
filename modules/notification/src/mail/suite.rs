//! What holds for every mailer, tried on a real SMTP server and on a real database; and what only
//! an SMTP server can do to one.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use kernel::World;
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};
use time::macros::datetime;

use super::{Mail, Mailer, Rendered, mailbox::MailboxMailer, smtp::SmtpMailer};
use crate::{config::tests::config, domain::MailAddress, store};

/// A mail as it arrived.
#[derive(Debug, PartialEq, Eq)]
struct Arrived {
    message_id: String,
    to: String,
    subject: String,
    text: String,
    html: String,
}

fn mail(n: u32, to: &str, subject: &str, text: &str, html: &str) -> Mail {
    let to = MailAddress::parse(to).expect("an address");
    let (subject, text, html) = (subject.to_owned(), text.to_owned(), html.to_owned());
    Mail {
        message_id: format!("<{n}@banyan.test>"),
        to,
        content: Rendered {
            subject,
            text,
            html,
        },
        date: datetime!(2026-02-03 04:05:06 UTC),
    }
}

/// What every mailer gets, and what comes of it.
fn samples() -> Vec<(Mail, Arrived)> {
    let long = "x".repeat(5_000);
    let texts = [
        ("Hello", "Your code is 042917.\n", "<p>Hello</p>"),
        ("Grüße, 你好 👋", "Grüße\n你好 👋\n", "<p>Grüße 👋</p>"),
        // Longer than SMTP's lines and headers may be (RFC 5321 §4.5.3.1.6).
        (
            &long[..900],
            &*format!("{long}\nend\n"),
            &*format!("<p>{long}</p>"),
        ),
        // The end of DATA, as servers that disagree on line ends read it: smuggling.
        ("dots", ".\n..\n.a\nQUIT\n", ".\n<p>.</p>\n."),
        ("equals", "a = b =3D c=\n", "<p>=20</p>"),
    ];
    let numbered = (1..).zip(texts);
    numbered
        .map(|(n, (subject, text, html))| {
            let to = format!("ada+{n}@example.org");
            let arrived = Arrived {
                message_id: format!("<{n}@banyan.test>"),
                to: to.clone(),
                subject: subject.to_owned(),
                text: text.to_owned(),
                html: html.to_owned(),
            };
            (mail(n, &to, subject, text, html), arrived)
        })
        .collect()
}

/// The suite: everything is taken, and arrives as it was.
async fn passes(mailer: &dyn Mailer) -> Vec<Arrived> {
    let mut expected = Vec::new();
    for (mail, arrived) in samples() {
        mailer.send(&mail).await.expect("it is taken");
        expected.push(arrived);
    }
    // Many at once, over few connections.
    let many: Vec<_> = (100..120)
        .map(|n| {
            mail(
                n,
                "many@example.org",
                "One of many",
                "text\n",
                "<p>html</p>\n",
            )
        })
        .collect();
    for result in futures::future::join_all(many.iter().map(|mail| mailer.send(mail))).await {
        result.expect("it is taken");
    }
    expected.extend(many.into_iter().map(|mail| Arrived {
        message_id: mail.message_id,
        to: mail.to.to_string(),
        subject: mail.content.subject,
        text: mail.content.text,
        html: mail.content.html,
    }));
    expected
}

fn assert_arrived(mut arrived: Vec<Arrived>, mut expected: Vec<Arrived>) {
    arrived.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    expected.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    assert_eq!(arrived, expected);
}

// ── The mailbox ──────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn the_mailbox_passes_the_suite() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("postgres");
    let options = embedded::Options {
        data_dir,
        fsync: false,
        bin_dir: None,
    };
    let server = embedded::Server::open(options)
        .await
        .expect("PostgreSQL is installed");
    let mut admin = server
        .admin()
        .connect()
        .await
        .expect("it takes connections");
    sqlx::raw_sql("CREATE SCHEMA notification")
        .execute(&mut admin)
        .await
        .expect("a new cluster");
    crate::MIGRATOR
        .run(&mut admin)
        .await
        .expect("the migrations run");
    let pool = PgPool::connect_with(server.admin())
        .await
        .expect("it takes connections");

    let mailer = MailboxMailer {
        pool: pool.clone(),
        world: World::system(),
    };
    let mut expected = passes(&mailer).await;
    // Handed over twice, as after a crash between sending and noting it: shown once.
    let twice = &samples()[0].0;
    mailer.send(twice).await.expect("it is taken");
    let mut conn = pool.acquire().await.expect("a connection");
    let kept = store::mailbox::newest(&mut conn, 200)
        .await
        .expect("it can be read");
    assert_eq!(kept.len(), expected.len());

    // All mails of the suite are of one moment: what is left is the last by id.
    store::mailbox::purge(&mut conn, 3)
        .await
        .expect("it can be purged");
    assert_eq!(
        store::mailbox::newest(&mut conn, 200)
            .await
            .expect("rows")
            .len(),
        3
    );

    let mut arrived = Vec::new();
    for mail in kept {
        // The table keeps the Message-ID as a key only.
        let at = expected
            .iter()
            .position(|e| e.to == mail.recipient && e.subject == mail.subject)
            .expect("no other mails");
        let message_id = expected.remove(at).message_id;
        let (to, subject) = (mail.recipient, mail.subject);
        arrived.push(Arrived {
            message_id,
            to,
            subject,
            text: mail.text,
            html: mail.html,
        });
    }
    let mut all = samples().into_iter().map(|(_, arrived)| arrived);
    assert!(all.all(|sample| arrived.contains(&sample)));
    drop((conn, pool, admin));
    server.stop().await.expect("it stops");
}

// ── SMTP ─────────────────────────────────────────────────────────────────────────────────────────

/// `tests/smtp_server.py`, running.
struct Server {
    child: Child,
    port: u16,
    lines: Receiver<String>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        // Debian's own by default: where its packages are found.
        let python = std::env::var("BANYAN_TEST_PYTHON");
        let mut child = Command::new(python.as_deref().unwrap_or("/usr/bin/python3"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp_server.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is installed: see scripts/install-test-tools.sh");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let port = lines
            .recv_timeout(Duration::from_secs(30))
            .expect("python3-aiosmtpd is installed: see scripts/install-test-tools.sh");
        Self {
            child,
            port: port.parse().expect("a port"),
            lines,
        }
    }

    fn next(&self) -> Value {
        let line = self
            .lines
            .recv_timeout(Duration::from_secs(10))
            .expect("a mail arrives");
        serde_json::from_str(&line).expect("JSON")
    }

    fn mailer(&self, overrides: &str) -> SmtpMailer {
        let config = config(&format!(
            "smtp_host = \"localhost\"\nsmtp_port = {}\nfrom_address = \"no-reply@banyan.test\"\n\
             {overrides}",
            self.port
        ));
        SmtpMailer::new(&config.expect("a valid configuration")).expect("a mailer")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace("\r\n", "\n")
}

#[tokio::test]
async fn smtp_passes_the_suite() {
    let server = Server::start(&[]);
    let mailer = server.mailer("smtp_tls = \"none\"\nfrom_name = \"Bän & Yan, Inc.\"");
    let expected = passes(&mailer).await;
    let mut arrived = Vec::new();
    for _ in 0..expected.len() {
        let mail = server.next();
        let headers = &mail["headers"];
        assert_eq!(mail["from"], "no-reply@banyan.test");
        assert_eq!(mail["recipients"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            headers["from"],
            "\"Bän & Yan, Inc.\" <no-reply@banyan.test>"
        );
        assert_eq!(headers["auto-submitted"], "auto-generated");
        assert_eq!(headers["date"], "Tue, 03 Feb 2026 04:05:06 +0000");
        let parts = ["multipart/alternative", "text/plain", "text/html"];
        assert_eq!(mail["parts"], serde_json::json!(parts));
        assert_eq!(mail["bare_newlines"], 0);
        assert!(
            mail["longest_line"]
                .as_u64()
                .is_some_and(|length| length <= 998)
        );
        arrived.push(Arrived {
            message_id: text(&headers["message-id"]),
            to: text(&headers["to"]),
            subject: text(&headers["subject"]),
            text: text(&mail["text"]),
            html: text(&mail["html"]),
        });
    }
    assert_arrived(arrived, expected);
}

#[tokio::test]
async fn nothing_in_a_mail_can_add_a_header_or_a_recipient() {
    let server = Server::start(&[]);
    let mailer = server.mailer("smtp_tls = \"none\"");
    let subject = "Hello\r\nBcc: eve@example.org\r\n\r\n<b>body</b>\0";
    let body = "text\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n";
    mailer
        .send(&mail(1, "ada@example.org", subject, body, body))
        .await
        .expect("it is taken");
    let mail = server.next();
    assert_eq!(mail["recipients"], serde_json::json!(["ada@example.org"]));
    assert!(mail["headers"].get("bcc").is_none());
    assert!(text(&mail["headers"]["subject"]).starts_with("Hello  Bcc: eve@example.org"));
    assert_eq!(text(&mail["text"]), body.replace("\r\n", "\n"));
    assert!(
        server
            .lines
            .recv_timeout(Duration::from_millis(200))
            .is_err(),
        "one mail only"
    );
}

#[tokio::test]
async fn what_the_server_says_decides_whether_to_try_again() {
    let server = Server::start(&[]);
    let mailer = server.mailer("smtp_tls = \"none\"\nsmtp_timeout_seconds = 2");
    for (recipient, permanent, code) in [
        ("unknown", true, Some("550")),
        ("busy", false, Some("451")),
        ("slow", false, None),
        ("gone", false, None),
    ] {
        let mail = mail(1, &format!("{recipient}@example.org"), "s", "t", "h");
        let error = mailer.send(&mail).await.expect_err("it is refused");
        assert_eq!(error.is_permanent, permanent, "{recipient}: {error}");
        assert_eq!(error.code.as_deref(), code, "{recipient}: {error}");
        assert!(
            !error.for_logs().contains(&format!("{recipient}@")),
            "{recipient}: {error}"
        );
    }
    // One that was refused has not spoilt the connections for the next.
    mailer
        .send(&mail(2, "ada@example.org", "s", "t", "h"))
        .await
        .expect("it is taken");

    drop(server);
    let error = mailer
        .send(&mail(3, "ada@example.org", "s", "t", "h"))
        .await;
    assert!(!error.expect_err("nobody is there").is_permanent);
}

#[tokio::test]
async fn a_server_is_trusted_with_the_password_only_behind_verified_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    make_certificate(&certificate, &key);
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let start = |tls| Server::start(&[tls, &certificate, &key, "banyan", "hunter2"]);
    let server = start("starttls");
    let ada = mail(1, "ada@example.org", "s", "t", "h");

    let trusting = format!("smtp_ca_file = \"{certificate}\"\nsmtp_username = \"banyan\"\n");
    let implicit = start("implicit");
    let mailer = implicit.mailer(&format!("{trusting}smtp_password = \"hunter2\""));
    mailer.send(&ada).await.expect("it is taken");
    implicit.next();

    let trusting = format!("{trusting}smtp_tls = \"starttls\"\n");
    let mailer = server.mailer(&format!("{trusting}smtp_password = \"hunter2\""));
    mailer.send(&ada).await.expect("it is taken");
    server.next();

    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").expect("a file");
    let mailer = server.mailer(&format!("{trusting}smtp_password_file = {file:?}"));
    mailer.send(&ada).await.expect("it is taken");

    // A wrong password is mended by an administrator: the mail waits for that.
    let mailer = server.mailer(&format!("{trusting}smtp_password = \"wrong\""));
    let error = mailer.send(&ada).await.expect_err("it is refused");
    assert_eq!(
        (error.is_permanent, error.code.as_deref()),
        (false, Some("535")),
        "{error}"
    );

    // Nobody vouches for the certificate.
    let unknown =
        "smtp_tls = \"starttls\"\nsmtp_username = \"banyan\"\nsmtp_password = \"hunter2\"";
    let error = server
        .mailer(unknown)
        .send(&ada)
        .await
        .expect_err("it is refused");
    assert!(!error.is_permanent && error.code.is_none(), "{error}");

    // A server that offers no TLS, as one would seem to behind someone who strips the offer.
    let plain = Server::start(&[]);
    let mailer = plain.mailer(&format!("{trusting}smtp_password = \"hunter2\""));
    let error = mailer.send(&ada).await.expect_err("it is refused");
    assert!(!error.is_permanent, "{error}");
}

fn make_certificate(certificate: &Path, key: &Path) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        // As its own authority it must be one, and as a server's certificate it must not.
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()
        .expect("openssl is installed: see scripts/install-test-tools.sh");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
