//! Mails: from the event to the mailbox, and what is written down of it.

use contracts::identity::{RegistrationAttempted, UserRestated};
use kernel::{RequestContext, UserId};
use serde_json::json;
use time::Duration;

use crate::support::{App, count, parse_time, profiled, registered};

#[tokio::test]
async fn a_code_is_mailed_once_in_one_trace_and_kept_by_nobody() {
    let app = App::start().await;
    let request = RequestContext::root(&app.world);
    let trace_id = request.trace_id.clone();
    let event = app.verification("ada@example.org", "042917");
    request.scope(app.publish(&event)).await;
    app.deliver_events().await;

    let waiting: String = sqlx::query_scalar("SELECT d::text FROM notification.deliveries d")
        .fetch_one(app.pool())
        .await
        .unwrap();
    assert!(waiting.contains("sealed") && !waiting.contains("042917"));

    app.send_mails().await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0]["to"], "ada@example.org");
    assert!(mails[0]["text"].as_str().unwrap().contains("042917"));
    assert!(
        !mails[0].to_string().contains("evil"),
        "nothing that was typed is in it"
    );
    assert_eq!(
        parse_time(&mails[0]["sent_at"]).date(),
        app.world.now().date()
    );

    let (row_trace, status, data): (String, String, serde_json::Value) =
        sqlx::query_as("SELECT trace_id, status, data FROM notification.deliveries")
            .fetch_one(app.pool())
            .await
            .unwrap();
    assert_eq!(
        (row_trace.as_str(), status.as_str()),
        (trace_id.as_str(), "sent")
    );
    assert!(data.get("code").is_none(), "the code goes with its purpose");

    let published = app.published().await;
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].0, "notification.message.sent.v1");
    assert_eq!(published[0].1["template"], "verification");
    assert_eq!(published[0].1["attempts"], 1);
    let traceparent: String =
        sqlx::query_scalar("SELECT context->>'traceparent' FROM notification.log")
            .fetch_one(app.pool())
            .await
            .unwrap();
    assert!(
        traceparent.contains(&trace_id),
        "the event goes on in the same trace"
    );
}

#[tokio::test]
async fn a_code_that_is_no_longer_good_is_not_mailed() {
    let app = App::start().await;
    app.publish(&app.verification("ada@example.org", "042917"))
        .await;
    app.deliver_events().await;
    app.clock.advance(Duration::minutes(16));
    app.send_mails().await;
    assert!(app.mails().await.is_empty());
    let published = app.published().await;
    assert_eq!(published[0].0, "notification.message.failed.v1");
    assert_eq!(published[0].1["reason"], "expired");
    let mut conn = app.conn().await;
    let expired = "SELECT count(*) FROM notification.deliveries WHERE status = 'expired'
                    AND finished_at IS NOT NULL AND NOT data ? 'code'";
    assert_eq!(count(&mut conn, expired).await, 1);
}

#[tokio::test]
async fn a_person_is_welcomed_once_whichever_half_comes_first() {
    let app = App::start().await;
    for profile_first in [true, false] {
        let user_id = UserId(app.world.uuid());
        if profile_first {
            app.publish(&profiled(user_id, "de-AT")).await;
            app.deliver_events().await;
            assert!(app.mails().await.is_empty());
            app.publish(&registered(user_id, "en")).await;
        } else {
            app.publish(&registered(user_id, "en")).await;
            app.deliver_events().await;
            app.publish(&profiled(user_id, "de-AT")).await;
        }
        app.deliver_events().await;
        // The same news again, as another event.
        app.publish(&profiled(user_id, "de-AT")).await;
        app.deliver_events().await;
        app.send_mails().await;
        let address = format!("{}@example.org", user_id.0.simple());
        let mails = app.mails().await;
        let mine: Vec<_> = mails.iter().filter(|mail| mail["to"] == *address).collect();
        assert_eq!(mine.len(), 1, "profile first: {profile_first}");
        assert_eq!(mine[0]["subject"], "Willkommen bei Banyan");
        assert!(mine[0]["text"].as_str().unwrap().contains("Guten Tag Ada,"));
        let (_, inbox) = app.get("/api/v1/notifications", Some(user_id)).await;
        assert_eq!(inbox["items"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn nobody_is_welcomed_years_later() {
    let app = App::start().await;
    let user_id = UserId(app.world.uuid());
    app.publish(&UserRestated {
        user_id,
        email: "old@example.org".to_owned(),
        display_name: None,
        locale: "en".to_owned(),
        time_zone: "UTC".to_owned(),
        roles: Vec::new(),
        registered_at: app.world.now() - Duration::days(1_000),
    })
    .await;
    app.publish(&profiled(user_id, "en")).await;
    app.deliver_events().await;
    app.send_mails().await;
    assert!(app.mails().await.is_empty());
    let (_, inbox) = app.get("/api/v1/notifications", Some(user_id)).await;
    assert_eq!(inbox, json!({ "unread_count": 0, "items": [] }));
}

#[tokio::test]
async fn an_owner_is_told_of_attempts_but_cannot_be_flooded() {
    let app = App::start().await;
    let attempt = RegistrationAttempted {
        user_id: UserId(app.world.uuid()),
        email: "ada@example.org".to_owned(),
        locale: "de".to_owned(),
    };
    for _ in 0..5 {
        app.publish(&attempt).await;
    }
    app.deliver_events().await;
    app.send_mails().await;
    let mails = app.mails().await;
    assert!(
        (1..=2).contains(&mails.len()),
        "two when the hour turns meanwhile"
    );
    assert_eq!(
        mails[0]["subject"],
        "Sie haben bereits ein Konto bei Banyan"
    );
    app.clock.advance(Duration::hours(2));
    app.publish(&attempt).await;
    app.deliver_events().await;
    app.send_mails().await;
    assert_eq!(app.mails().await.len(), mails.len() + 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_again_until_the_mail_is_given_up() {
    // Nobody listens there.
    let app = App::start_with(
        "smtp_host = \"127.0.0.1\"\nsmtp_port = 9\nsmtp_tls = \"none\"\n\
         from_address = \"no-reply@banyan.test\"\nmax_attempts = 3\nretry_base_seconds = 60",
    )
    .await;
    let user_id = app.register("en").await;
    let mut conn = app.conn().await;
    let due = "SELECT count(*) FROM notification.deliveries WHERE status = 'queued'";
    app.send_mails().await;
    assert_eq!(count(&mut conn, due).await, 1);
    assert!(
        app.started.workers[0].run.idle().await.unwrap(),
        "the next try is not due"
    );
    for _ in 0..2 {
        app.clock.advance(Duration::hours(1));
        assert!(!app.started.workers[0].run.idle().await.unwrap());
        app.send_mails().await;
    }
    let (status, attempts, error, address): (String, i32, String, String) =
        sqlx::query_as("SELECT status, attempts, last_error, address FROM notification.deliveries")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
    assert_eq!((status.as_str(), attempts), ("failed", 3));
    assert!(error.contains("refused"), "{error}");
    assert_eq!(address, format!("{}@example.org", user_id.0.simple()));
    let failed: Vec<_> = app
        .published()
        .await
        .into_iter()
        .filter(|(name, _)| name == "notification.message.failed.v1")
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].1["reason"], "gave_up");
    assert_eq!(failed[0].1["attempts"], 3);
}

#[tokio::test]
async fn a_worker_that_was_lost_is_taken_over_and_changes_nothing_when_it_wakes() {
    let app = App::start().await;
    app.publish(&app.verification("ada@example.org", "042917"))
        .await;
    app.deliver_events().await;
    let mut conn = app.conn().await;
    // Another instance claimed it and is paused.
    let lease = app.world.uuid();
    let claim = "UPDATE notification.deliveries SET status = 'sending', lease = $1, attempts = 1,
                 leased_until = clock_timestamp() + $2::interval";
    sqlx::query(claim)
        .bind(lease)
        .bind("1 hour")
        .execute(&mut *conn)
        .await
        .unwrap();
    app.send_mails().await;
    assert!(app.mails().await.is_empty(), "the lease is respected");
    assert!(!app.started.workers[0].run.idle().await.unwrap());

    sqlx::query("UPDATE notification.deliveries SET leased_until = clock_timestamp()")
        .execute(&mut *conn)
        .await
        .unwrap();
    app.send_mails().await;
    assert_eq!(app.mails().await.len(), 1);
    let taken_over = "SELECT count(*) FROM notification.deliveries
                       WHERE status = 'sent' AND attempts = 2 AND lease IS NULL";
    assert_eq!(count(&mut conn, taken_over).await, 1);
}

#[tokio::test]
async fn two_workers_share_the_work_and_codes_go_first() {
    let app = App::start_with("send_concurrency = 2").await;
    for n in 0..20 {
        let user_id = UserId(app.world.uuid());
        app.publish(&RegistrationAttempted {
            user_id,
            email: format!("owner{n}@example.org"),
            locale: "en".to_owned(),
        })
        .await;
    }
    app.publish(&app.verification("urgent@example.org", "042917"))
        .await;
    app.deliver_events().await;
    let worker = &app.started.workers[0];
    let (first, second) = tokio::join!(worker.run.run(), worker.run.run());
    first.unwrap();
    second.unwrap();
    app.send_mails().await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 21);
    let place = mails
        .iter()
        .position(|mail| mail["to"] == "urgent@example.org")
        .unwrap();
    assert!(
        place >= 17,
        "newest first, and it was among the first: {place}"
    );
    let mut conn = app.conn().await;
    let once = "SELECT count(*) FROM notification.deliveries WHERE attempts <> 1";
    assert_eq!(count(&mut conn, once).await, 0);
}

#[tokio::test]
async fn old_rows_go_and_the_mailbox_keeps_the_newest() {
    let app = App::start_with("mailbox_max_messages = 2").await;
    for n in 0..4 {
        app.publish(&app.verification(&format!("a{n}@example.org"), "042917"))
            .await;
        app.deliver_events().await;
        app.send_mails().await;
        app.clock.advance(Duration::seconds(1));
    }
    let user_id = app.register("en").await;
    app.run_job("purge_mailbox").await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0]["to"], "a3@example.org");

    app.run_job("purge_deliveries").await;
    app.run_job("purge_notifications").await;
    let mut conn = app.conn().await;
    let deliveries = "SELECT count(*) FROM notification.deliveries";
    assert_eq!(count(&mut conn, deliveries).await, 5);
    app.clock.advance(Duration::days(366));
    app.run_job("purge_deliveries").await;
    app.run_job("purge_notifications").await;
    assert_eq!(
        count(&mut conn, deliveries).await,
        1,
        "what has not ended stays"
    );
    let (_, inbox) = app.get("/api/v1/notifications", Some(user_id)).await;
    assert_eq!(inbox["items"], json!([]));
}
