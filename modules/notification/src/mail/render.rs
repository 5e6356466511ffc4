//! Templates: `templates/notification/mail/<locale>/` and `in_app/<locale>/`.
//!
//! A text file holds the subject and the plain text as blocks, the HTML file beside it the same for
//! programs that show it. Missing variables do not compile.

use askama::Template;
use url::Url;

use crate::domain::{Locale, Notice, SafeName, Seen, Words};

/// What every message shows.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) product: String,
    pub(crate) public_url: Url,
}

impl Frame {
    /// A page of ours, in the words of its path, with what it needs to know. Always below the
    /// configured address: a request's Host has no say in what is mailed.
    pub(crate) fn link(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.public_url.clone();
        url.path_segments_mut()
            .expect("http and https have paths")
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// What a mail says, with its secrets open. It lives while the mail is written and sent, and has
/// no `Debug`.
pub(crate) enum Content {
    Verification(CodeMail),
    SignInCode(CodeMail),
    PasswordResetCode(CodeMail),
    AddressTaken(AddressTaken),
    PasswordChanged(PasswordChanged),
    UnfamiliarSignIn(UnfamiliarSignIn),
    Welcome(Welcome),
    FromService(FromService),
}

/// A code and the page that takes it. Opening the page uses nothing up: programs that look at links
/// before people do must not spend the code.
pub(crate) struct CodeMail {
    code: String,
    validity: String,
    link: Url,
}

impl CodeMail {
    pub(crate) fn new(locale: Locale, code: String, link: Url, valid_for: time::Duration) -> Self {
        Self {
            code,
            validity: validity(locale, valid_for),
            link,
        }
    }
}

pub(crate) struct AddressTaken;

pub(crate) struct PasswordChanged {
    pub(crate) was_reset: bool,
    pub(crate) seen: Seen,
    /// Where a new password is set by whoever reads the mail.
    pub(crate) reset_link: Url,
}

pub(crate) struct UnfamiliarSignIn {
    pub(crate) seen: Seen,
    pub(crate) reset_link: Url,
}

pub(crate) struct Welcome {
    pub(crate) name: Option<SafeName>,
}

pub(crate) struct FromService {
    pub(crate) words: Words,
}

/// A notification in words.
pub(crate) struct Said {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) action_url: Option<Url>,
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
    ($content:ty, $mail:expr, $frame:expr, $unsubscribe:expr, $text:literal, $html:literal) => {{
        #[derive(Template)]
        #[template(path = $text, blocks = ["subject", "text"])]
        struct Text<'a> {
            #[allow(dead_code, reason = "not every mail shows something of its own")]
            mail: &'a $content,
            frame: &'a Frame,
            #[allow(dead_code, reason = "not every mail can be unsubscribed from")]
            unsubscribe: Option<&'a Url>,
        }
        #[derive(Template)]
        #[template(path = $html)]
        struct Html<'a> {
            #[allow(dead_code, reason = "not every mail shows something of its own")]
            mail: &'a $content,
            frame: &'a Frame,
            #[allow(dead_code, reason = "not every mail can be unsubscribed from")]
            unsubscribe: Option<&'a Url>,
        }
        let text = Text {
            mail: $mail,
            frame: $frame,
            unsubscribe: $unsubscribe,
        };
        Ok(Rendered {
            subject: text.as_subject().render()?.trim().to_owned(),
            text: format!("{}\n", text.as_text().render()?.trim()),
            html: Html {
                mail: $mail,
                frame: $frame,
                unsubscribe: $unsubscribe,
            }
            .render()?,
        })
    }};
}

/// Renders a notification's title and body in one language.
macro_rules! in_app {
    ($notice:ty, $said:expr, $frame:expr, $text:literal) => {{
        #[derive(Template)]
        #[template(path = $text, blocks = ["title", "body"])]
        struct Text<'a> {
            #[allow(
                dead_code,
                reason = "not every notification shows something of its own"
            )]
            notice: &'a $notice,
            #[allow(dead_code, reason = "not every notification names the product")]
            frame: &'a Frame,
        }
        let text = Text {
            notice: $said,
            frame: $frame,
        };
        Said {
            title: text.as_title().render()?,
            body: text.as_body().render()?,
            action_url: None,
        }
    }};
}

#[rustfmt::skip]
pub(crate) fn render(
    content: &Content,
    locale: Locale,
    frame: &Frame,
    unsubscribe: Option<&Url>,
) -> Result<Rendered, askama::Error> {
    use Locale::{De, En};
    match (content, locale) {
        (Content::Verification(mail), En) => mail!(
            CodeMail, mail, frame, unsubscribe,
            "mail/en/verification.txt", "mail/en/verification.html"),
        (Content::Verification(mail), De) => mail!(
            CodeMail, mail, frame, unsubscribe,
            "mail/de/verification.txt", "mail/de/verification.html"),
        (Content::SignInCode(mail), En) => mail!(
            CodeMail, mail, frame, unsubscribe,
            "mail/en/sign_in_code.txt", "mail/en/sign_in_code.html"),
        (Content::SignInCode(mail), De) => mail!(
            CodeMail, mail, frame, unsubscribe,
            "mail/de/sign_in_code.txt", "mail/de/sign_in_code.html"),
        (Content::PasswordResetCode(mail), En) => mail!(
            CodeMail, mail, frame, unsubscribe,
            "mail/en/password_reset_code.txt", "mail/en/password_reset_code.html"),
        (Content::PasswordResetCode(mail), De) => mail!(
            CodeMail, mail, frame, unsubscribe,
            "mail/de/password_reset_code.txt", "mail/de/password_reset_code.html"),
        (Content::AddressTaken(mail), En) => mail!(
            AddressTaken, mail, frame, unsubscribe,
            "mail/en/address_taken.txt", "mail/en/address_taken.html"),
        (Content::AddressTaken(mail), De) => mail!(
            AddressTaken, mail, frame, unsubscribe,
            "mail/de/address_taken.txt", "mail/de/address_taken.html"),
        (Content::PasswordChanged(mail), En) => mail!(
            PasswordChanged, mail, frame, unsubscribe,
            "mail/en/password_changed.txt", "mail/en/password_changed.html"),
        (Content::PasswordChanged(mail), De) => mail!(
            PasswordChanged, mail, frame, unsubscribe,
            "mail/de/password_changed.txt", "mail/de/password_changed.html"),
        (Content::UnfamiliarSignIn(mail), En) => mail!(
            UnfamiliarSignIn, mail, frame, unsubscribe,
            "mail/en/unfamiliar_sign_in.txt", "mail/en/unfamiliar_sign_in.html"),
        (Content::UnfamiliarSignIn(mail), De) => mail!(
            UnfamiliarSignIn, mail, frame, unsubscribe,
            "mail/de/unfamiliar_sign_in.txt", "mail/de/unfamiliar_sign_in.html"),
        (Content::Welcome(mail), En) => mail!(
            Welcome, mail, frame, unsubscribe,
            "mail/en/welcome.txt", "mail/en/welcome.html"),
        (Content::Welcome(mail), De) => mail!(
            Welcome, mail, frame, unsubscribe,
            "mail/de/welcome.txt", "mail/de/welcome.html"),
        (Content::FromService(mail), En) => mail!(
            FromService, mail, frame, unsubscribe,
            "mail/en/from_service.txt", "mail/en/from_service.html"),
        (Content::FromService(mail), De) => mail!(
            FromService, mail, frame, unsubscribe,
            "mail/de/from_service.txt", "mail/de/from_service.html"),
    }
}

/// A notification in a language. What a later release wrote is told of in general words.
#[rustfmt::skip]
pub(crate) fn in_app(
    notice: Option<&Notice>,
    locale: Locale,
    frame: &Frame,
) -> Result<Said, askama::Error> {
    use Locale::{De, En};
    let reset = || Some(frame.link(&["password", "forgot"], &[]));
    Ok(match notice {
        None => match locale {
            En => in_app!((), &(), frame, "in_app/en/other.txt"),
            De => in_app!((), &(), frame, "in_app/de/other.txt"),
        },
        Some(Notice::Welcome {}) => match locale {
            En => in_app!((), &(), frame, "in_app/en/welcome.txt"),
            De => in_app!((), &(), frame, "in_app/de/welcome.txt"),
        },
        Some(Notice::PasswordChanged { was_reset, seen }) => {
            let said = SaidPasswordChanged { was_reset: *was_reset, seen: seen.in_words(locale) };
            let said = match locale {
                En => in_app!(SaidPasswordChanged, &said, frame, "in_app/en/password_changed.txt"),
                De => in_app!(SaidPasswordChanged, &said, frame, "in_app/de/password_changed.txt"),
            };
            Said { action_url: reset(), ..said }
        }
        Some(Notice::UnfamiliarSignIn { seen }) => {
            let said = SaidSignIn { seen: seen.in_words(locale) };
            let said = match locale {
                En => in_app!(SaidSignIn, &said, frame, "in_app/en/unfamiliar_sign_in.txt"),
                De => in_app!(SaidSignIn, &said, frame, "in_app/de/unfamiliar_sign_in.txt"),
            };
            Said { action_url: reset(), ..said }
        }
        Some(Notice::FromService { words, .. }) => Said {
            title: words.title.clone(),
            body: words.body.clone(),
            action_url: words.action_url.clone(),
        },
    })
}

struct SaidPasswordChanged {
    was_reset: bool,
    seen: Seen,
}

struct SaidSignIn {
    seen: Seen,
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
    use time::{Duration, macros::datetime};

    use super::*;
    use crate::domain::Occurrence;

    fn frame() -> Frame {
        Frame {
            product: "Ben & Jerry".to_owned(),
            public_url: "https://app.example.org/".parse().expect("a URL"),
        }
    }

    const SMUGGLED: &str = "<b>Ada</b> https://evil.example\r\nBcc: x@example.org";

    fn occurrence(device: Option<&str>) -> Occurrence {
        Occurrence {
            at: datetime!(2026-02-03 04:05:06 UTC),
            time_zone: "Europe/Vienna".to_owned(),
            address: device.map(|_| "203.0.113.7".parse().expect("an address")),
            device: device.map(str::to_owned),
        }
    }

    fn unsubscribe(name: &str) -> Option<Url> {
        (name.starts_with("welcome") || name == "from_service")
            .then(|| frame().link(&["notifications", "unsubscribe"], &[("token", "account.1")]))
    }

    fn samples(locale: Locale) -> Vec<(&'static str, Content)> {
        let code = |path: &[&str]| {
            let link = frame().link(path, &[("id", "1"), ("code", "042917")]);
            CodeMail::new(locale, "042917".to_owned(), link, Duration::minutes(15))
        };
        let name = SafeName::new(SMUGGLED);
        let reset_link = frame().link(&["password", "forgot"], &[]);
        let changed = |was_reset, device| {
            Content::PasswordChanged(PasswordChanged {
                was_reset,
                seen: occurrence(device).in_words(locale),
                reset_link: reset_link.clone(),
            })
        };
        vec![
            (
                "verification",
                Content::Verification(code(&["sign-up", "verify"])),
            ),
            (
                "sign_in_code",
                Content::SignInCode(code(&["sign-in", "code"])),
            ),
            (
                "password_reset_code",
                Content::PasswordResetCode(code(&["password", "reset"])),
            ),
            ("address_taken", Content::AddressTaken(AddressTaken)),
            ("password_changed", changed(false, None)),
            ("password_reset", changed(true, Some(SMUGGLED))),
            (
                "unfamiliar_sign_in",
                Content::UnfamiliarSignIn(UnfamiliarSignIn {
                    seen: occurrence(Some(SMUGGLED)).in_words(locale),
                    reset_link: reset_link.clone(),
                }),
            ),
            ("welcome", Content::Welcome(Welcome { name })),
            (
                "from_service",
                Content::FromService(FromService {
                    words: Words {
                        title: "<b>Ben & Jerry</b>".to_owned(),
                        body: "One & two\nthree\n\n<script>four</script>".to_owned(),
                        action_url: Words::action_url("https://shop.example/?a=1&b=\"2\"").ok(),
                    },
                }),
            ),
            ("welcome_nameless", Content::Welcome(Welcome { name: None })),
        ]
    }

    #[test]
    fn every_mail_renders_in_every_language() {
        for locale in Locale::ALL {
            for (name, content) in samples(locale) {
                let mail = render(&content, locale, &frame(), unsubscribe(name).as_ref())
                    .expect("it renders");
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
                assert!(
                    !mail.html.contains("<b>") && !mail.html.contains("<script"),
                    "{what}"
                );
                for smuggled in ["https://evil", "evil.example", "x@example.org"] {
                    assert!(!mail.html.contains(smuggled), "{what}: {smuggled}");
                    assert!(!mail.text.contains(smuggled), "{what}: {smuggled}");
                }
            }
        }
    }

    #[test]
    fn the_code_comes_first_and_in_its_link_only() {
        for locale in Locale::ALL {
            for (name, content) in samples(locale).into_iter().take(3) {
                let mail = render(&content, locale, &frame(), unsubscribe(name).as_ref())
                    .expect("it renders");
                let numbers: Vec<_> = mail
                    .text
                    .split(|c: char| !c.is_ascii_digit())
                    .filter(|digits| digits.len() == 6)
                    .collect();
                assert_eq!(numbers, ["042917"; 2], "{name}");
                assert!(mail.text.contains("?id=1&code=042917\n"), "{name}");
                assert!(mail.html.contains("?id=1&#38;code=042917\""), "{name}");
                // Subjects show on locked screens.
                assert!(!mail.subject.contains("042917"));
            }
        }
    }

    #[test]
    fn links_lie_below_the_configured_address() {
        for (public_url, link) in [
            ("https://a.test", "https://a.test/sign-in/code?id=a+b%26c"),
            ("https://a.test/", "https://a.test/sign-in/code?id=a+b%26c"),
            (
                "http://a.test:8080/x",
                "http://a.test:8080/x/sign-in/code?id=a+b%26c",
            ),
            (
                "http://a.test:8080/x/",
                "http://a.test:8080/x/sign-in/code?id=a+b%26c",
            ),
        ] {
            let frame = Frame {
                public_url: public_url.parse().expect("a URL"),
                ..frame()
            };
            let made = frame.link(&["sign-in", "code"], &[("id", "a b&c")]);
            assert_eq!(made.as_str(), link);
        }
        assert_eq!(
            frame().link(&["a"], &[]).as_str(),
            "https://app.example.org/a"
        );
    }

    #[test]
    fn every_notification_renders_in_every_language() {
        for locale in Locale::ALL {
            let said = |notice: Option<Notice>| {
                in_app(notice.as_ref(), locale, &frame()).expect("it renders")
            };
            assert!(said(None).title.contains("Ben & Jerry"));
            let Said { title, body, .. } = said(Some(Notice::Welcome {}));
            assert!(title.contains("Ben & Jerry") && !body.is_empty());
            let seen = occurrence(Some(SMUGGLED));
            for notice in [
                Notice::PasswordChanged {
                    was_reset: true,
                    seen: seen.clone(),
                },
                Notice::PasswordChanged {
                    was_reset: false,
                    seen: occurrence(None),
                },
                Notice::UnfamiliarSignIn { seen },
            ] {
                let Said {
                    title,
                    body,
                    action_url,
                } = said(Some(notice));
                assert!(action_url.is_some());
                assert!(!title.is_empty() && body.contains("05:05"), "{body}");
                assert!(
                    !body.contains('<') && !body.contains("evil.example"),
                    "{body}"
                );
            }
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
