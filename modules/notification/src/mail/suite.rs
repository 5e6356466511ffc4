//! What holds for every mailer: tried on a real database ([`mailbox`]) and on a real SMTP server
//! ([`smtp`]), which has cases of its own besides.

mod mailbox;
mod smtp;

use time::macros::datetime;

use super::{Mail, Mailer, Rendered};
use crate::domain::MailAddress;

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
        unsubscribe: None,
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
