//! What administrators see of deliveries, and do to them.

use contracts::identity::CodePurpose;
use kernel::UserId;
use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use crate::support::{App, count};

const PATH: &str = "/api/v1/notifications/deliveries";
const SUPPRESSIONS: &str = "/api/v1/notifications/suppressions";
const TEMPLATES: &str = "/api/v1/notifications/templates";
/// Nobody listens there.
const DOWN: &str = "smtp_host = \"127.0.0.1\"\nsmtp_port = 9\nsmtp_tls = \"none\"\n\
                    from_address = \"no-reply@banyan.test\"\nmax_attempts = 2";

impl App {
    async fn admin(&self, method: &str, path: &str) -> (u16, Value) {
        let token = self.token_with(UserId(Uuid::from_u128(1)), "", &["admin"]);
        self.call(method, path, &token, &[], None).await
    }

    async fn delivery_of(&self, template: &str) -> String {
        let (_, page) = self
            .admin("GET", &format!("{PATH}?template={template}"))
            .await;
        page["items"][0]["id"]
            .as_str()
            .expect("a delivery")
            .to_owned()
    }
}

#[tokio::test]
async fn deliveries_are_listed_filtered_and_paged() {
    let app = App::start().await;
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(app.register("en").await);
        app.clock.advance(Duration::minutes(1));
    }
    app.publish(&app.verification("new@example.org", "042917"))
        .await;
    app.deliver_events().await;
    app.send_mails().await;

    let (status, page) = app.admin("GET", &format!("{PATH}?limit=4")).await;
    assert_eq!(status, 200);
    assert_eq!(page["items"][0]["template"], "verification");
    let cursor = page["next_cursor"].as_str().unwrap();
    let (_, rest) = app
        .admin("GET", &format!("{PATH}?limit=4&cursor={cursor}"))
        .await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((ids(&page).len(), ids(&rest).len()), (4, 2));
    assert!(rest.get("next_cursor").is_none());
    assert!(ids(&page).iter().all(|id| !ids(&rest).contains(id)));

    let from = app.world.now() - Duration::seconds(150);
    let from = from
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    for (filter, found) in [
        (format!("user_id={}", people[2].0), 1),
        ("template=welcome".to_owned(), 5),
        ("status=sent".to_owned(), 6),
        ("status=failed".to_owned(), 0),
        (format!("template=welcome&from={from}"), 2),
        (format!("template=welcome&to={from}"), 3),
    ] {
        let (status, page) = app.admin("GET", &format!("{PATH}?{filter}")).await;
        assert_eq!(status, 200, "{filter}: {page}");
        assert_eq!(ids(&page).len(), found, "{filter}");
    }
    for wrong in [
        "state=sent",
        "user_id=x",
        "from=yesterday",
        "limit=0",
        "cursor=x",
    ] {
        assert_eq!(
            app.admin("GET", &format!("{PATH}?{wrong}")).await.0,
            422,
            "{wrong}"
        );
    }
    let (_, counts) = app.admin("GET", &format!("{PATH}/counts")).await;
    assert_eq!(counts, json!({ "hours": 24, "counts": { "sent": 6 } }));
    assert_eq!(
        app.admin("GET", &format!("{PATH}/counts?hours=721"))
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn a_timeline_tells_each_try_and_never_what_was_sent() {
    let app = App::start_with(DOWN).await;
    app.publish(&app.code(CodePurpose::SignIn, UserId(Uuid::from_u128(7)), "042917"))
        .await;
    app.deliver_events().await;
    app.send_mails().await;
    let path = format!("{PATH}/{}", app.delivery_of("sign_in_code").await);
    let (status, delivery) = app.admin("GET", &path).await;
    assert_eq!(status, 200);
    let timeline = delivery["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), 1);
    assert_eq!(
        (&timeline[0]["number"], &timeline[0]["outcome"]),
        (&json!(1), &json!("queued"))
    );
    assert!(timeline[0]["reply"].as_str().unwrap().contains("refused"));
    assert!(delivery["next_attempt_at"].is_string());
    let text = delivery.to_string();
    assert!(
        !text.contains("042917") && !text.contains("sealed"),
        "{text}"
    );

    // Tried at once, and then given up: the code goes.
    assert_eq!(app.admin("POST", &format!("{path}/retry")).await.0, 202);
    app.send_mails().await;
    assert_eq!(app.admin("POST", &format!("{path}/give-up")).await.0, 204);
    let (_, delivery) = app.admin("GET", &path).await;
    assert_eq!(delivery["status"], "failed");
    assert_eq!(delivery["timeline"].as_array().unwrap().len(), 2);
    let mut conn = app.conn().await;
    let codes = "SELECT count(*) FROM notification.deliveries WHERE data ? 'code'";
    assert_eq!(count(&mut conn, codes).await, 0);
    // There is no code left to send.
    for again in ["retry", "give-up"] {
        let (status, problem) = app.admin("POST", &format!("{path}/{again}")).await;
        assert_eq!(
            (status, &problem["type"]),
            (409, &json!("/problems/delivery-state"))
        );
    }
    let told: Vec<String> = app
        .published()
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        told,
        [
            "notification.delivery.retried.v1",
            "notification.delivery.given_up.v1",
            "notification.message.failed.v1"
        ]
    );
    let actor: String =
        sqlx::query_scalar("SELECT context->>'actor' FROM notification.log LIMIT 1")
            .fetch_one(app.pool())
            .await
            .unwrap();
    assert_eq!(actor, format!("user:{}", Uuid::from_u128(1)));
}

#[tokio::test]
async fn what_failed_is_sent_once_more_when_somebody_says_so() {
    let app = App::start_with(DOWN).await;
    app.register("en").await;
    for _ in 0..2 {
        app.send_mails().await;
        app.clock.advance(Duration::hours(2));
    }
    // Long after: it would have expired.
    app.clock.advance(Duration::days(5));
    let path = format!("{PATH}/{}", app.delivery_of("welcome").await);
    assert_eq!(app.admin("GET", &path).await.1["status"], "failed");
    assert_eq!(app.admin("POST", &format!("{path}/retry")).await.0, 202);
    app.send_mails().await;
    let (_, delivery) = app.admin("GET", &path).await;
    assert_eq!(
        delivery["status"], "queued",
        "it has all its tries again: {delivery}"
    );
    let timeline = delivery["timeline"].as_array().unwrap();
    let numbers: Vec<_> = timeline
        .iter()
        .map(|a| a["number"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 1]);

    let mut conn = app.conn().await;
    let held = "UPDATE notification.deliveries
                   SET status = 'sending', lease = gen_random_uuid(),
                       leased_until = now() + interval '1 hour'";
    sqlx::query(held).execute(&mut *conn).await.unwrap();
    for held in ["retry", "give-up"] {
        assert_eq!(app.admin("POST", &format!("{path}/{held}")).await.0, 409);
    }
    let unknown = format!("{PATH}/{}", Uuid::from_u128(9));
    for (method, path) in [
        ("GET", unknown.clone()),
        ("POST", format!("{unknown}/retry")),
        ("POST", format!("{unknown}/give-up")),
    ] {
        assert_eq!(app.admin(method, &path).await.0, 404);
    }
}

#[tokio::test]
async fn suppressions_are_listed_and_lifted() {
    let app = App::start().await;
    let mut conn = app.conn().await;
    sqlx::query(
        "INSERT INTO notification.suppressions
             (id, address, reason, detail, delivery_id, created_at, expires_at)
         SELECT gen_random_uuid(), 'a' || n || '@example.org', 'bounce', '5.1.1 unknown',
                gen_random_uuid(), now() + n * interval '1 second', now() + interval '1 day'
           FROM generate_series(1, 3) AS n",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    let (status, page) = app.admin("GET", &format!("{SUPPRESSIONS}?limit=2")).await;
    assert_eq!(status, 200);
    assert_eq!(page["items"][0]["address"], "a3@example.org");
    let cursor = page["next_cursor"].as_str().unwrap();
    let (_, rest) = app
        .admin("GET", &format!("{SUPPRESSIONS}?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(rest["items"][0]["address"], "a1@example.org");
    let (_, found) = app
        .admin("GET", &format!("{SUPPRESSIONS}?address=A2@example.org"))
        .await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let one = format!(
        "{SUPPRESSIONS}/{}",
        found["items"][0]["id"].as_str().unwrap()
    );
    assert_eq!(app.admin("DELETE", &one).await.0, 204);
    assert_eq!(app.admin("DELETE", &one).await.0, 404);
    let left = "SELECT count(*) FROM notification.suppressions";
    assert_eq!(count(&mut conn, left).await, 2);
    let published = app.published().await;
    assert_eq!(published[0].0, "notification.suppression.lifted.v1");
    assert!(!published[0].1.to_string().contains("example.org"));
}

#[tokio::test]
async fn mails_can_be_looked_at_before_anybody_gets_one() {
    let app = App::start().await;
    let (status, all) = app.admin("GET", TEMPLATES).await;
    assert_eq!(status, 200);
    let all = all.as_array().unwrap();
    assert!(
        all.iter()
            .all(|template| template["locales"] == json!(["en", "de"]))
    );
    for (query, subject) in [
        ("", "Welcome to Banyan"),
        ("?locale=de-AT", "Willkommen bei Banyan"),
        ("?locale=fr", "Welcome to Banyan"),
    ] {
        let (status, mail) = app
            .admin("GET", &format!("{TEMPLATES}/welcome{query}"))
            .await;
        assert_eq!((status, &mail["subject"]), (200, &json!(subject)));
        assert!(mail["html"].as_str().unwrap().contains("Ada Lovelace"));
    }
    for (path, status) in [
        ("none", 404),
        ("welcome?language=de", 422),
        ("..%2Fwelcome", 404),
    ] {
        assert_eq!(
            app.admin("GET", &format!("{TEMPLATES}/{path}")).await.0,
            status,
            "{path}"
        );
    }
    let mut conn = app.conn().await;
    let rows = "SELECT count(*) FROM notification.deliveries";
    assert_eq!(count(&mut conn, rows).await, 0, "looking sends nothing");
}

#[tokio::test]
async fn nobody_but_administrators_sees_any_of_it() {
    let app = App::start().await;
    let ada = app.register("en").await;
    let id = app.delivery_of("welcome").await;
    for (method, path) in [
        ("GET", PATH.to_owned()),
        ("GET", format!("{PATH}/counts")),
        ("GET", format!("{PATH}/{id}")),
        ("POST", format!("{PATH}/{id}/retry")),
        ("POST", format!("{PATH}/{id}/give-up")),
        ("GET", SUPPRESSIONS.to_owned()),
        ("DELETE", format!("{SUPPRESSIONS}/{id}")),
        ("GET", TEMPLATES.to_owned()),
        ("GET", format!("{TEMPLATES}/welcome")),
    ] {
        for token in [
            app.token(ada),
            app.token_with(ada, "admin notifications:send", &["administrator"]),
            app.service_token("shop", "notifications:send admin"),
        ] {
            let (status, _) = app.call(method, &path, &token, &[], None).await;
            assert_eq!(status, 403, "{method} {path}");
        }
    }
}
