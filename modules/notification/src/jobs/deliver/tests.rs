use std::sync::Mutex;

use kernel::{EventId, RequestContext, Secrets, UserId, secret::Key};
use serde_json::{Value, json};
use time::Duration as Span;
use uuid::Uuid;

use super::*;
use crate::domain::{Category, Preferences};

/// A mailer that does as it is told.
#[derive(Clone, Copy)]
enum Behaviour {
    Take,
    Refuse,
    BeBusy,
    Panic,
    Hang,
}

struct Obedient {
    behaviour: Behaviour,
    sent: Sent,
}

#[async_trait]
impl Mailer for Obedient {
    async fn send(&self, mail: &Mail) -> Result<Option<String>, SendError> {
        self.sent
            .lock()
            .expect("no holder panics")
            .push((mail.clone(), RequestContext::current()));
        match self.behaviour {
            Behaviour::Take => Ok(Some("250 taken".to_owned())),
            Behaviour::Refuse => Err(SendError::permanent("no such mailbox ".repeat(100))),
            Behaviour::BeBusy => Err(SendError::temporary("busy")),
            Behaviour::Panic => panic!("a name with CR in it"),
            Behaviour::Hang => std::future::pending().await,
        }
    }
}

type Sent = Arc<Mutex<Vec<(Mail, Option<RequestContext>)>>>;

fn sender(behaviour: Behaviour) -> (Arc<Sender>, Sent) {
    let sent = Sent::default();
    let master = Key::new([1; 32]);
    let sender = Sender {
        mailer: Box::new(Obedient {
            behaviour,
            sent: Arc::clone(&sent),
        }),
        world: World::system(),
        sealer: Secrets::for_module(&master, &master, "notification")
            .sealer()
            .clone(),
        frame: Frame {
            product: "Banyan".to_owned(),
            public_url: "https://app.example.org".parse().expect("a URL"),
        },
        unsubscriber: Unsubscriber::new(Key::new([3; 32])),
        backoff: Backoff {
            base: Span::seconds(30),
            max: Span::hours(1),
            max_attempts: 3,
        },
        deadline: Duration::from_millis(50),
    };
    (Arc::new(sender), sent)
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn claimed(sender: &Sender, message: (String, Value), attempt: i32) -> Claimed {
    Claimed {
        id: Uuid::from_u128(1),
        lease: Uuid::from_u128(2),
        channel: "email".to_owned(),
        user_id: None,
        address: "ada@example.org".to_owned(),
        template: message.0,
        locale: "de-AT".to_owned(),
        data: message.1,
        message_id: "<1@banyan.test>".to_owned(),
        preferences: Preferences::default(),
        suppressed: false,
        attempt,
        expires_at: sender.world.now() + Span::minutes(10),
        traceparent: format!("00-{TRACE}-00f067aa0ba902b7-01"),
        correlation_id: "correlation".to_owned(),
        event_id: EventId(Uuid::from_u128(3)),
    }
}

fn code(sender: &Sender) -> (String, Value) {
    let registration_id = Uuid::from_u128(4);
    let context = format!("verification:{registration_id}");
    let code = sender
        .sealer
        .seal(&sender.world, &context, &"042917".to_owned());
    Message::Verification {
        registration_id,
        code,
    }
    .to_columns()
}

#[tokio::test]
async fn a_code_is_opened_for_the_mail_and_sent_in_the_trace_that_asked_for_it() {
    let (sender, sent) = sender(Behaviour::Take);
    let claimed = claimed(&sender, code(&sender), 1);
    assert!(!format!("{claimed:?}").contains("042917"));
    let (_, outcome) = Arc::clone(&sender).attempt(claimed).await;
    assert_eq!(outcome.status(), "sent");
    let sent = sent.lock().unwrap();
    let (mail, context) = &sent[0];
    assert!(mail.content.text.contains("042917"));
    assert!(mail.content.subject.starts_with("Ihr Code"));
    assert_eq!(mail.message_id, "<1@banyan.test>");
    assert!(!format!("{mail:?}").contains("042917"));
    let context = context.as_ref().expect("it runs in a context");
    assert_eq!(context.trace_id, TRACE);
    assert_eq!(context.correlation_id, "correlation");
    assert_eq!(context.causation_id, Some(EventId(Uuid::from_u128(3))));
}

#[tokio::test]
async fn whatever_goes_wrong_is_the_outcome_of_one_delivery() {
    for (behaviour, attempt, status, error) in [
        (Behaviour::Take, 3, "sent", None),
        (Behaviour::Refuse, 1, "failed", Some("no such mailbox")),
        (Behaviour::BeBusy, 1, "queued", Some("busy")),
        (Behaviour::BeBusy, 2, "queued", Some("busy")),
        (Behaviour::BeBusy, 3, "failed", Some("busy")),
        (Behaviour::Panic, 1, "queued", Some("sending panicked")),
        (Behaviour::Panic, 3, "failed", Some("sending panicked")),
        (Behaviour::Hang, 1, "queued", Some("sending took too long")),
        // Claimed once more than there are tries: each time, the process did not come back.
        (Behaviour::Take, 4, "failed", Some("the process was lost")),
    ] {
        let (sender, _) = sender(behaviour);
        let claimed = claimed(&sender, code(&sender), attempt);
        let before = sender.world.now();
        let (claimed, outcome) = Arc::clone(&sender).attempt(claimed).await;
        assert_eq!(outcome.status(), status, "{outcome:?}");
        match (outcome.error(), error) {
            (None, None) => {}
            (Some(text), Some(expected)) => {
                assert!(text.starts_with(expected), "{text}");
                assert!(text.chars().count() <= MAX_ERROR_CHARS);
            }
            _ => panic!("{outcome:?}"),
        }
        if let Outcome::Retry { at, .. } = outcome {
            assert!(at > before && at <= claimed.expires_at);
        }
    }
}

#[tokio::test]
async fn what_is_no_longer_true_is_not_sent() {
    let (sender, sent) = sender(Behaviour::Take);
    let mut late = claimed(&sender, code(&sender), 1);
    late.expires_at = sender.world.now() - Span::seconds(1);
    let (_, outcome) = Arc::clone(&sender).attempt(late).await;
    assert_eq!(outcome, Outcome::Expired);
    assert!(sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_retry_comes_no_later_than_the_end() {
    let (sender, _) = sender(Behaviour::BeBusy);
    let mut short = claimed(&sender, code(&sender), 2);
    short.expires_at = sender.world.now() + Span::milliseconds(900);
    let end = short.expires_at;
    let (_, outcome) = Arc::clone(&sender).attempt(short).await;
    assert_eq!(
        outcome,
        Outcome::Retry {
            at: end,
            error: "busy".to_owned()
        }
    );
}

#[tokio::test]
async fn what_cannot_be_written_waits_for_those_who_can_and_bad_addresses_do_not() {
    let (sender, sent) = sender(Behaviour::Take);
    let unknown = claimed(&sender, ("newsletter".to_owned(), json!({})), 1);
    let mut foreign = claimed(&sender, code(&sender), 1);
    foreign.data["registration_id"] = json!(Uuid::from_u128(5));
    let mut bad = claimed(&sender, code(&sender), 1);
    bad.address = "ada@example.org\r\nBcc: eve@example.org".to_owned();
    for (claimed, status) in [(unknown, "queued"), (foreign, "queued"), (bad, "failed")] {
        let (_, outcome) = Arc::clone(&sender).attempt(claimed).await;
        assert_eq!(outcome.status(), status, "{outcome:?}");
    }
    assert!(sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_was_switched_off_after_it_was_queued_is_not_sent_and_codes_are() {
    let welcome = || Message::Welcome { display_name: None }.to_columns();
    for (message, status) in [
        (welcome(), "muted"),
        (code(&sender(Behaviour::Take).0), "sent"),
    ] {
        let (sender, sent) = sender(Behaviour::Take);
        let mut claimed = claimed(&sender, message, 1);
        for category in Category::ALL {
            claimed.preferences.set(category, Channel::Email, false);
        }
        let (_, outcome) = Arc::clone(&sender).attempt(claimed).await;
        assert_eq!(outcome.status(), status);
        assert_eq!(sent.lock().unwrap().is_empty(), status == "muted");
    }
}

#[tokio::test]
async fn an_address_that_takes_no_mail_is_spared_all_but_what_someone_waits_for() {
    for (message, status) in [
        (Message::Welcome { display_name: None }, "suppressed"),
        (Message::AddressTaken {}, "sent"),
    ] {
        let (sender, sent) = sender(Behaviour::Take);
        let mut claimed = claimed(&sender, message.to_columns(), 1);
        claimed.suppressed = true;
        let (_, outcome) = Arc::clone(&sender).attempt(claimed).await;
        assert_eq!(outcome.status(), status);
        assert_eq!(sent.lock().unwrap().is_empty(), status == "suppressed");
    }
}

#[tokio::test]
async fn only_what_can_be_stopped_says_how() {
    let (sender, sent) = sender(Behaviour::Take);
    let user_id = UserId(Uuid::from_u128(9));
    for message in [
        Message::Welcome { display_name: None },
        Message::AddressTaken {},
    ] {
        let mut claimed = claimed(&sender, message.to_columns(), 1);
        claimed.user_id = Some(user_id);
        let (_, outcome) = Arc::clone(&sender).attempt(claimed).await;
        assert_eq!(outcome.status(), "sent");
    }
    let sent = sent.lock().unwrap();
    let (welcome, taken) = (&sent[0].0, &sent[1].0);
    let url = welcome.unsubscribe.as_ref().expect("a way out");
    let token = url.query_pairs().next().expect("a token").1;
    assert_eq!(url.path(), "/notifications/unsubscribe");
    assert_eq!(
        sender.unsubscriber.read(&token),
        Some((user_id, Category::Account))
    );
    assert!(welcome.content.text.contains(url.as_str()));
    assert!(taken.unsubscribe.is_none() && !taken.content.html.contains("unsubscribe"));
}
