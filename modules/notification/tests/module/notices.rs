//! Security notices: what happened to an account, told to its owner by mail and in the app.

use contracts::identity::{PasswordChange, PasswordChanged, SessionStarted, SignInMethod};
use kernel::{RequestContext, SessionId, UserId, event::Client};
use serde_json::Value;
use time::Duration;

use crate::support::{App, count, profiled, registered};

/// As the edge tells who calls: the user agent is whatever the caller likes.
async fn from_outside(app: &App, publish: impl Future<Output = ()>) {
    let client = Client {
        address: Some("203.0.113.7".parse().unwrap()),
        user_agent: Some("<img src=x onerror=alert(1)>\u{202E}https://evil.example".to_owned()),
    };
    let context = RequestContext {
        client: Some(client),
        ..RequestContext::root(&app.world)
    };
    context.scope(publish).await;
}

fn sign_in(app: &App, user_id: UserId, unfamiliar: bool, device: &str) -> SessionStarted {
    SessionStarted {
        user_id,
        session_id: SessionId(app.world.uuid()),
        method: SignInMethod::Password,
        device: Some(device.to_owned()),
        unfamiliar,
    }
}

async fn newest(app: &App, user_id: UserId) -> Value {
    let (_, inbox) = app.get("/api/v1/notifications", Some(user_id)).await;
    inbox["items"][0].clone()
}

#[tokio::test]
async fn a_changed_password_is_told_of_once_with_when_and_where() {
    let app = App::start().await;
    let user_id = app.register("de-AT").await;
    app.send_mails().await;
    for (change, subject) in [
        (
            PasswordChange::Changed,
            "Ihr Passwort bei Banyan wurde geändert",
        ),
        (
            PasswordChange::Reset,
            "Ihr Passwort bei Banyan wurde zurückgesetzt",
        ),
        (
            PasswordChange::Other,
            "Ihr Passwort bei Banyan wurde geändert",
        ),
    ] {
        let event = PasswordChanged { user_id, change };
        from_outside(&app, app.publish(&event)).await;
        app.deliver_events().await;
        app.send_mails().await;
        let mail = app.mails().await.remove(0);
        assert_eq!(mail["subject"], subject);
        for part in ["text", "html"] {
            let text = mail[part].as_str().unwrap();
            assert!(
                text.contains("203.0.113.7") && text.contains("(Europe/Vienna)"),
                "{text}"
            );
            assert!(
                text.contains("http://localhost:8080/password/forgot"),
                "{text}"
            );
            assert!(
                !text.contains("onerror") && !text.contains("evil"),
                "{text}"
            );
        }
        let notice = newest(&app, user_id).await;
        assert_eq!(notice["kind"], "password_changed");
        assert!(notice["body"].as_str().unwrap().contains("203.0.113.7"));
    }
    assert_eq!(app.mails().await.len(), 4, "with the welcome");
}

#[tokio::test]
async fn only_an_unfamiliar_sign_in_is_told_of_and_its_device_is_no_markup() {
    let app = App::start().await;
    let user_id = app.register("en").await;
    app.send_mails().await;
    let familiar = sign_in(&app, user_id, false, "Firefox on Linux");
    from_outside(&app, app.publish(&familiar)).await;
    let device = format!(
        "<script>alert(1)</script>\r\nBcc: eve@example.org https://evil.example/{}",
        "x".repeat(5_000)
    );
    let unfamiliar = sign_in(&app, user_id, true, &device);
    from_outside(&app, app.publish(&unfamiliar)).await;
    // The same session again, as another event.
    from_outside(&app, app.publish(&unfamiliar)).await;
    app.deliver_events().await;
    app.send_mails().await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 2, "the welcome and one notice");
    assert_eq!(mails[0]["subject"], "New sign-in to Banyan");
    let notice = newest(&app, user_id).await;
    assert_eq!(notice["kind"], "unfamiliar_sign_in");
    for text in [&mails[0]["text"], &mails[0]["html"], &notice["body"]] {
        let text = text.as_str().unwrap();
        assert!(text.contains("script alert 1"), "{text}");
        assert!(
            text.contains("203.0.113.7") && text.contains("(Europe/Vienna)"),
            "{text}"
        );
        for smuggled in [
            "<script",
            "eve@",
            "evil.example",
            "https://evil",
            "xxxxxxxx",
        ] {
            assert!(!text.contains(smuggled), "{smuggled}: {text}");
        }
    }
}

#[tokio::test]
async fn a_notice_waits_for_the_account_to_be_known_but_not_for_ever() {
    let app = App::start().await;
    let user_id = UserId(app.world.uuid());
    let change = PasswordChange::Changed;
    app.publish(&PasswordChanged { user_id, change }).await;
    app.deliver_events().await;
    let mut conn = app.conn().await;
    let mails = "SELECT count(*) FROM notification.deliveries WHERE template = 'password_changed'";
    assert_eq!(count(&mut conn, mails).await, 0);
    app.publish(&registered(user_id, "en")).await;
    app.publish(&profiled(user_id, "en")).await;
    app.deliver_events().await;
    assert_eq!(count(&mut conn, mails).await, 1);

    // News that took longer than a message lives: nobody is told of last month's password.
    let stranger = UserId(app.world.uuid());
    let user_id = stranger;
    app.publish(&PasswordChanged { user_id, change }).await;
    app.clock.advance(Duration::days(4));
    app.publish(&registered(user_id, "en")).await;
    app.deliver_events().await;
    assert_eq!(count(&mut conn, mails).await, 1);
    let parked = "SELECT count(*) FROM notification.parked";
    assert_eq!(count(&mut conn, parked).await, 0);
}
