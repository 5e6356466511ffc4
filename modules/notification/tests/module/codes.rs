//! Codes to sign in and to set a new password: mailed to those who have an account, sealed until
//! then.

use contracts::identity::{CodePurpose, CodeRequested};
use kernel::UserId;
use time::Duration;

use crate::support::{App, count};

#[tokio::test]
async fn a_code_is_mailed_with_the_page_that_takes_it() {
    let app = App::start().await;
    let user_id = UserId(app.world.uuid());
    for (purpose, template, page) in [
        (CodePurpose::SignIn, "sign_in_code", "sign-in/code"),
        (
            CodePurpose::PasswordReset,
            "password_reset_code",
            "password/reset",
        ),
    ] {
        let event = app.code(purpose, user_id, "042917");
        let code_id = event.code_id;
        app.publish(&event).await;
        app.deliver_events().await;
        let waiting: String =
            sqlx::query_scalar("SELECT d::text FROM notification.deliveries d WHERE template = $1")
                .bind(template)
                .fetch_one(app.pool())
                .await
                .unwrap();
        assert!(waiting.contains("sealed") && !waiting.contains("042917"));
        app.send_mails().await;
        let mail = &app.mails().await[0];
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains("\n    042917\n"), "{text}");
        let link = format!("http://localhost:8080/{page}?id={code_id}&code=042917\n");
        assert!(text.contains(&link), "{text}");
        let html = mail["html"].as_str().unwrap();
        assert!(html.contains(&format!("{page}?id={code_id}&#38;code=042917\"")));
    }
    let mut conn = app.conn().await;
    let kept = "SELECT count(*) FROM notification.deliveries WHERE data ? 'code'";
    assert_eq!(
        count(&mut conn, kept).await,
        0,
        "codes go with their purpose"
    );
    let urgent =
        "SELECT count(*) FROM notification.deliveries WHERE urgent AND user_id IS NOT NULL";
    assert_eq!(count(&mut conn, urgent).await, 2);
    let logged = "SELECT count(*) FROM notification.log WHERE data::text LIKE '%042917%'";
    assert_eq!(count(&mut conn, logged).await, 0);
}

#[tokio::test]
async fn nobody_is_written_to_without_an_account_or_for_what_is_not_known() {
    let app = App::start().await;
    let user_id = UserId(app.world.uuid());
    let unknown = CodeRequested {
        recipient: None,
        ..app.code(CodePurpose::SignIn, user_id, "042917")
    };
    app.publish(&unknown).await;
    app.publish(&app.code(CodePurpose::Other, user_id, "042917"))
        .await;
    app.deliver_events().await;
    let mut conn = app.conn().await;
    for nothing in [
        "SELECT count(*) FROM notification.deliveries",
        "SELECT count(*) FROM notification.parked",
    ] {
        assert_eq!(count(&mut conn, nothing).await, 0, "{nothing}");
    }
}

#[tokio::test]
async fn a_code_past_its_time_expires_and_is_no_failure_of_ours() {
    let app = App::start().await;
    let user_id = UserId(app.world.uuid());
    app.publish(&app.code(CodePurpose::SignIn, user_id, "042917"))
        .await;
    app.deliver_events().await;
    app.clock.advance(Duration::minutes(16));
    app.send_mails().await;
    assert!(app.mails().await.is_empty());
    let mut conn = app.conn().await;
    let expired = "SELECT count(*) FROM notification.deliveries
                    WHERE status = 'expired' AND NOT data ? 'code' AND last_error IS NULL";
    assert_eq!(count(&mut conn, expired).await, 1);
    assert_eq!(app.published().await[0].1["reason"], "expired");
}

#[tokio::test]
async fn a_code_sealed_for_another_event_is_not_opened() {
    let app = App::start().await;
    let user_id = UserId(app.world.uuid());
    let swapped = CodeRequested {
        code_id: app.world.uuid(),
        ..app.code(CodePurpose::SignIn, user_id, "042917")
    };
    app.publish(&swapped).await;
    app.deliver_events().await;
    app.send_mails().await;
    assert!(app.mails().await.is_empty());
    let mut conn = app.conn().await;
    let waiting = "SELECT count(*) FROM notification.deliveries
                    WHERE status = 'queued' AND last_error LIKE 'the code cannot be opened%'";
    assert_eq!(count(&mut conn, waiting).await, 1);
}
