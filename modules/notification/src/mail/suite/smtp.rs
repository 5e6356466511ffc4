//! SMTP, with `tests/smtp_server.py` at the other end.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::Value;

use super::{Arrived, assert_arrived, mail, passes};
use crate::{
    config::tests::config,
    mail::{Mailer, smtp::SmtpMailer},
};

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
        SmtpMailer::new(&config.expect("a valid configuration"), "Banyan").expect("a mailer")
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
async fn a_mail_that_can_be_stopped_says_so_to_mail_programs() {
    let server = Server::start(&[]);
    let mailer = server.mailer("smtp_tls = \"none\"");
    let token = "product.0196a1b2c3d47e5f8a9b0c1d2e3f4a5b.".to_owned() + &"A".repeat(43);
    for (scheme, one_click) in [("https", true), ("http", false)] {
        let url = format!("{scheme}://app.example.org/notifications/unsubscribe?token={token}");
        let mut mail = mail(1, "ada@example.org", "s", "t", "h");
        mail.unsubscribe = Some(url.parse().expect("a URL"));
        mailer.send(&mail).await.expect("it is taken");
        let headers = &server.next()["headers"];
        assert_eq!(headers["list-unsubscribe"], format!("<{url}>"));
        let post = one_click.then_some("List-Unsubscribe=One-Click");
        assert_eq!(headers["list-unsubscribe-post"].as_str(), post);
    }
    mailer
        .send(&mail(2, "ada@example.org", "s", "t", "h"))
        .await
        .expect("it is taken");
    assert!(server.next()["headers"].get("list-unsubscribe").is_none());
}

#[tokio::test]
async fn what_the_server_says_decides_whether_to_try_again() {
    let server = Server::start(&[]);
    let mailer = server.mailer("smtp_tls = \"none\"\nsmtp_timeout_seconds = 2");
    for (recipient, permanent, code) in [
        ("unknown", true, Some("550")),
        ("spam", true, Some("550")),
        ("busy", false, Some("451")),
        ("slow", false, None),
        ("gone", false, None),
    ] {
        let mail = mail(1, &format!("{recipient}@example.org"), "s", "t", "h");
        let error = mailer.send(&mail).await.expect_err("it is refused");
        assert_eq!(error.is_permanent, permanent, "{recipient}: {error}");
        assert_eq!(
            error.is_bounce,
            recipient == "unknown",
            "{recipient}: {error}"
        );
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
