//! Templates: `templates/notification/mail/<locale>/` and `in_app/<locale>/`.
//!
//! A text file holds the subject and the plain text as blocks, the HTML file beside it the same for
//! programs that show it. Missing variables do not compile.

use askama::Template;
use url::Url;

use crate::domain::{Kind, Locale, SafeName};

/// What every message shows.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) product: String,
    pub(crate) public_url: Url,
}

/// What a mail says, with its secrets open. It lives while the mail is written and sent, and has
/// no `Debug`.
pub(crate) enum Content {
    Verification(Verification),
    AddressTaken(AddressTaken),
    Welcome(Welcome),
}

pub(crate) struct Verification {
    code: String,
    validity: String,
}

impl Verification {
    pub(crate) fn new(locale: Locale, code: String, valid_for: time::Duration) -> Self {
        Self {
            code,
            validity: validity(locale, valid_for),
        }
    }
}

pub(crate) struct AddressTaken;

pub(crate) struct Welcome {
    pub(crate) name: Option<SafeName>,
}

/// A mail in words.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rendered(…)")
    }
}

/// Renders the text and the HTML of one mail in one language.
macro_rules! mail {
    ($content:ty, $mail:expr, $frame:expr, $text:literal, $html:literal) => {{
        #[derive(Template)]
        #[template(path = $text, blocks = ["subject", "text"])]
        struct Text<'a> {
            #[allow(dead_code, reason = "not every mail shows something of its own")]
            mail: &'a $content,
            frame: &'a Frame,
        }
        #[derive(Template)]
        #[template(path = $html)]
        struct Html<'a> {
            #[allow(dead_code, reason = "not every mail shows something of its own")]
            mail: &'a $content,
            frame: &'a Frame,
        }
        let text = Text {
            mail: $mail,
            frame: $frame,
        };
        Ok(Rendered {
            subject: text.as_subject().render()?.trim().to_owned(),
            text: format!("{}\n", text.as_text().render()?.trim()),
            html: Html {
                mail: $mail,
                frame: $frame,
            }
            .render()?,
        })
    }};
}

/// Renders a notification's title and body in one language.
macro_rules! in_app {
    ($frame:expr, $text:literal) => {{
        #[derive(Template)]
        #[template(path = $text, blocks = ["title", "body"])]
        struct Text<'a> {
            frame: &'a Frame,
        }
        let text = Text { frame: $frame };
        Ok((text.as_title().render()?, text.as_body().render()?))
    }};
}

#[rustfmt::skip]
pub(crate) fn render(
    content: &Content,
    locale: Locale,
    frame: &Frame,
) -> Result<Rendered, askama::Error> {
    use Locale::{De, En};
    match (content, locale) {
        (Content::Verification(mail), En) => mail!(
            Verification, mail, frame, "mail/en/verification.txt", "mail/en/verification.html"),
        (Content::Verification(mail), De) => mail!(
            Verification, mail, frame, "mail/de/verification.txt", "mail/de/verification.html"),
        (Content::AddressTaken(mail), En) => mail!(
            AddressTaken, mail, frame, "mail/en/address_taken.txt", "mail/en/address_taken.html"),
        (Content::AddressTaken(mail), De) => mail!(
            AddressTaken, mail, frame, "mail/de/address_taken.txt", "mail/de/address_taken.html"),
        (Content::Welcome(mail), En) => mail!(
            Welcome, mail, frame, "mail/en/welcome.txt", "mail/en/welcome.html"),
        (Content::Welcome(mail), De) => mail!(
            Welcome, mail, frame, "mail/de/welcome.txt", "mail/de/welcome.html"),
    }
}

/// A notification's title and body.
pub(crate) fn in_app(
    kind: Kind,
    locale: Locale,
    frame: &Frame,
) -> Result<(String, String), askama::Error> {
    match (kind, locale) {
        (Kind::Welcome, Locale::En) => in_app!(frame, "in_app/en/welcome.txt"),
        (Kind::Welcome, Locale::De) => in_app!(frame, "in_app/de/welcome.txt"),
        (Kind::Other, Locale::En) => in_app!(frame, "in_app/en/other.txt"),
        (Kind::Other, Locale::De) => in_app!(frame, "in_app/de/other.txt"),
    }
}

/// "15 minutes": rounded to what a person reads, never to nothing.
fn validity(locale: Locale, duration: time::Duration) -> String {
    let minutes = (duration.whole_seconds() + 30).div_euclid(60).max(1);
    let (count, unit) = if minutes >= 120 {
        ((minutes + 30) / 60, "hour")
    } else {
        (minutes, "minute")
    };
    let unit = match (locale, unit, count) {
        (Locale::En, "hour", 1) => "hour",
        (Locale::En, "hour", _) => "hours",
        (Locale::En, _, 1) => "minute",
        (Locale::En, ..) => "minutes",
        (Locale::De, "hour", 1) => "Stunde",
        (Locale::De, "hour", _) => "Stunden",
        (Locale::De, _, 1) => "Minute",
        (Locale::De, ..) => "Minuten",
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn frame() -> Frame {
        Frame {
            product: "Ben & Jerry".to_owned(),
            public_url: "https://app.example.org/".parse().expect("a URL"),
        }
    }

    fn samples(locale: Locale) -> Vec<(&'static str, Content)> {
        let code = "042917".to_owned();
        let name = SafeName::new("<b>Ada</b> https://evil.example\r\nBcc: x@example.org");
        vec![
            (
                "verification",
                Content::Verification(Verification::new(locale, code, Duration::minutes(15))),
            ),
            ("address_taken", Content::AddressTaken(AddressTaken)),
            ("welcome", Content::Welcome(Welcome { name })),
            ("welcome_nameless", Content::Welcome(Welcome { name: None })),
        ]
    }

    #[test]
    fn every_mail_renders_in_every_language() {
        for locale in Locale::ALL {
            for (name, content) in samples(locale) {
                let mail = render(&content, locale, &frame()).expect("it renders");
                let what = format!("{name}_{locale:?}").to_lowercase();
                insta::assert_snapshot!(
                    what.as_str(),
                    format!("Subject: {}\n\n{}\n{}", mail.subject, mail.text, mail.html)
                );
                assert!(!mail.subject.contains(['\r', '\n']), "{what}");
                assert!(
                    mail.text.lines().all(|line| line.chars().count() <= 120),
                    "{what}"
                );
                assert!(mail.html.contains("Ben &#38; Jerry"), "{what}");
                assert!(mail.text.contains("Ben & Jerry"), "{what}");
                for smuggled in ["<b>", "https://evil", "evil.example", "x@example.org"] {
                    assert!(!mail.html.contains(smuggled), "{what}: {smuggled}");
                    assert!(!mail.text.contains(smuggled), "{what}: {smuggled}");
                }
            }
        }
    }

    #[test]
    fn the_code_is_the_only_number_of_six_digits_in_the_text() {
        for locale in Locale::ALL {
            let (_, content) = samples(locale).remove(0);
            let mail = render(&content, locale, &frame()).expect("it renders");
            let numbers: Vec<_> = mail
                .text
                .split(|c: char| !c.is_ascii_digit())
                .filter(|digits| digits.len() == 6)
                .collect();
            assert_eq!(numbers, ["042917"]);
            // Subjects show on locked screens.
            assert!(!mail.subject.contains("042917"));
        }
    }

    #[test]
    fn every_notification_renders_in_every_language() {
        for locale in Locale::ALL {
            for kind in [Kind::Welcome, Kind::Other] {
                let (title, _) = in_app(kind, locale, &frame()).expect("it renders");
                assert!(title.contains("Ben & Jerry"));
            }
            assert!(
                !in_app(Kind::Welcome, locale, &frame())
                    .expect("it renders")
                    .1
                    .is_empty()
            );
        }
    }

    #[test]
    fn durations_read_well() {
        for (seconds, en, de) in [
            (-5, "1 minute", "1 Minute"),
            (29, "1 minute", "1 Minute"),
            (899, "15 minutes", "15 Minuten"),
            (5_400, "90 minutes", "90 Minuten"),
            (7_200, "2 hours", "2 Stunden"),
            (86_399, "24 hours", "24 Stunden"),
        ] {
            assert_eq!(validity(Locale::En, Duration::seconds(seconds)), en);
            assert_eq!(validity(Locale::De, Duration::seconds(seconds)), de);
        }
    }
}
