//! The pages of notifications, and those of mails for administrators.

use serde_json::json;

use super::walker::Walker;

const PREFERENCES: &str = "/api/v1/notifications/preferences";

#[tokio::test]
async fn people_are_told_and_choose_what() {
    let mut walker = Walker::new().await;
    let ada = walker.app.sign_up("ada@example.com").await;
    walker.sign_in("ada@example.com").await;
    walker.app.settle().await;
    walker.open("/account/notifications").await;
    let text = walker.browser.text().await;
    assert!(
        text.contains("Welcome") && text.contains("unread"),
        "{text}"
    );
    walker.look("notifications").await;
    walker.browser.press(".rows form button").await;
    walker.browser.press(".actions form button").await;
    let text = walker.browser.text().await;
    assert!(!text.contains("unread") && !text.contains("Mark"), "{text}");
    let inbox = walker.app.get("/api/v1/notifications", &ada.access_token);
    assert_eq!(inbox.await.json()["unread_count"], 0);

    // What is switched off stays off; what concerns security comes by mail whatever is sent.
    let toggle = "document.querySelector('[name=\"product.email\"]').click()";
    walker.browser.run(toggle).await;
    walker.browser.press("#preferences button").await;
    assert!(walker.browser.text().await.contains("Saved."));
    walker.look("notifications-saved").await;
    let now = walker.app.get(PREFERENCES, &ada.access_token).await.json();
    assert_eq!(now["product"]["email"], false);
    assert_eq!(now["product"]["in_app"], true);
    assert_eq!(now["security"], json!({ "email": true, "in_app": true }));

    // Of two edits of one version, the second is told of the first.
    let first = [("account.in_app", false)];
    walker.open("/account/notifications").await;
    let token = Some(&*ada.access_token);
    let body = json!({ "account": { "in_app": first[0].1 } });
    let headers = [("if-match", "*")];
    let method = reqwest::Method::PATCH;
    let elsewhere = walker
        .app
        .send(method, PREFERENCES, token, Some(body), &headers);
    elsewhere.await.expect(200);
    walker.browser.run(toggle).await;
    walker.browser.press("#preferences button").await;
    assert!(walker.browser.text().await.contains("changed elsewhere"));
    walker.look("notifications-conflict").await;
    let now = walker.app.get(PREFERENCES, &ada.access_token).await.json();
    assert_eq!(now["product"]["email"], false);
    assert_eq!(now["account"]["in_app"], false);
    let app = walker.done();
    app.settle().await;
}

#[tokio::test]
async fn notifications_need_no_script_and_have_pages() {
    let mut walker = Walker::new().await;
    let ada = walker.app.sign_up("ada@example.com").await;
    walker.app.settle().await;
    sqlx::query(
        "INSERT INTO notification.notifications
             (id, user_id, number, kind, data, idempotency_key, event_id, created_at)
         SELECT gen_random_uuid(), $1::uuid, n, 'welcome', '{}', 'test ' || n, gen_random_uuid(), now()
           FROM generate_series(1001, 1045) AS n",
    )
    .bind(&ada.user_id)
    .execute(&walker.app.admin_of("notification"))
    .await
    .expect("some more");
    let unread = 46;
    walker.browser.scripts(false).await;
    walker.sign_in("ada@example.com").await;
    walker.app.settle().await;
    let headers = json!({ "headers": { "Accept-Language": "de" } });
    walker
        .browser
        .call("Network.setExtraHTTPHeaders", headers)
        .await;
    walker.open("/account/notifications").await;
    let count = async |walker: &mut Walker| {
        let inbox = walker.app.get("/api/v1/notifications", &ada.access_token);
        inbox.await.json()["unread_count"].as_i64().unwrap()
    };
    let before = count(&mut walker).await;
    assert!(before >= unread, "{before}");
    // Read on the second page, one stays there.
    walker.browser.press(".actions a").await;
    let path = walker.browser.path().await;
    assert!(path.starts_with("/account/notifications?cursor="), "{path}");
    walker.browser.press(".rows form button").await;
    assert_eq!(walker.browser.path().await, path);
    assert_eq!(count(&mut walker).await, before - 1);
    // All that are as old as those on the page, and none that is newer.
    walker.browser.press(".actions form button").await;
    assert_eq!(count(&mut walker).await, 20);
    assert!(walker.browser.text().await.contains("ungelesen"));
    let app = walker.done();
    app.settle().await;
}

#[tokio::test]
async fn administrators_look_after_mails() {
    let mut walker = Walker::new().await;
    walker.app.sign_up("ada@example.com").await;
    walker.sign_in_admin().await;
    walker.app.settle().await;
    let database = walker.app.admin_of("notification");
    // One that failed, one that waits, and an address that takes none.
    sqlx::raw_sql(
        "UPDATE notification.deliveries SET status = 'failed', last_error = '550 5.1.1 no such user'
          WHERE address = 'ada@example.com' AND template = 'welcome';
         INSERT INTO notification.attempts (delivery_id, number, outcome, reply, ended_at)
         SELECT id, 2, 'failed', '550 5.1.1 no such user <b>here</b>', created_at
           FROM notification.deliveries WHERE status = 'failed';
         INSERT INTO notification.suppressions
         SELECT gen_random_uuid(), 'ada@example.com', 'bounce', '550 5.1.1 no such user', id, created_at,
                created_at + interval '30 days'
           FROM notification.deliveries WHERE status = 'failed'",
    )
    .execute(&database)
    .await
    .expect("what went wrong");

    walker.open("/admin/mails").await;
    let text = walker.browser.text().await;
    assert!(
        text.contains("ada@example.com") && text.contains("1 failed"),
        "{text}"
    );
    walker.look("admin-mails").await;
    walker.browser.fill("to", "ADA@example.com").await;
    walker
        .browser
        .run("document.querySelector('#state').value = 'failed'")
        .await;
    walker.browser.press(".filters button").await;
    let path = walker.browser.path().await;
    assert!(path.contains("state=failed&to=ADA%40example.com"), "{path}");
    let rows = "document.querySelectorAll('tbody tr').length";
    assert_eq!(walker.browser.run(rows).await, 1);
    walker.open("/admin/mails?from=yesterday").await;
    assert!(walker.browser.text().await.contains("Write it as"));
    walker.open("/admin/mails").await;
    let all = walker.browser.run(rows).await.as_i64().unwrap();
    walker.open("/admin/mails?limit=1").await;
    walker.browser.press(".actions a").await;
    assert_eq!(walker.browser.run(rows).await, all - 1);
    assert!(walker.browser.text().await.contains("Newest"));

    walker.open("/admin/mails/suppressions").await;
    walker.look("admin-suppressions").await;
    walker.browser.run("window.confirm = () => true").await;
    walker.browser.press(".rows form button").await;
    let text = walker.browser.text().await;
    assert!(
        text.contains("gets mail again") && text.contains("No address is"),
        "{text}"
    );

    walker.open(&path).await;
    walker.browser.press("tbody a").await;
    let text = walker.browser.text().await;
    assert!(text.contains("no such user <b>here</b>"), "{text}");
    walker.look("admin-mail").await;
    let mail = walker.browser.path().await;
    walker.browser.run("window.confirm = () => true").await;
    walker.browser.press(".actions form button").await;
    assert!(walker.browser.text().await.contains("tried as soon"));
    walker.app.settle().await;
    walker.open(&mail).await;
    assert!(
        !walker.browser.text().await.contains("Try now"),
        "it is sent"
    );

    walker.open("/admin/mails/templates").await;
    walker.look("admin-templates").await;
    walker
        .open("/admin/mails/templates/welcome?locale=de")
        .await;
    let framed = "document.querySelector('iframe').contentDocument";
    assert!(
        walker.browser.run(framed).await.is_null(),
        "of another origin"
    );
    walker.look("admin-template").await;
    let url = format!("{}/admin/mails/templates/welcome/html", walker.app.url);
    walker.browser.open(&url).await;
    assert!(walker.browser.text().await.contains("Ada Lovelace"));
    let app = walker.done();
    app.settle().await;
}

#[tokio::test]
async fn other_sites_and_others_do_nothing_to_mails() {
    let app = crate::support::TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let root = app.admin("root@example.com").await;
    app.settle().await;
    let id = "00000000-0000-7000-8000-000000000000";
    for path in [
        format!("/admin/mails/{id}/retry"),
        format!("/admin/mails/{id}/give-up"),
        format!("/admin/mails/suppressions/{id}/lift"),
        format!("/account/notifications/{id}/read"),
        "/account/notifications/read-all".to_owned(),
        "/account/notifications/preferences".to_owned(),
    ] {
        for (who, site, status) in [
            (&root, "cross-site", 403),
            (
                &root,
                "same-origin",
                if path.contains(id) { 404 } else { 400 },
            ),
        ] {
            let request = app
                .http
                .post(format!("{}{path}", app.url))
                .bearer_auth(&who.access_token)
                .header("sec-fetch-site", site)
                .form(&[("x", "1")]);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{path} {site}");
        }
    }
    app.get("/admin/mails", &ada.access_token)
        .await
        .problem(403, "forbidden");
    app.settle().await;
}

/// The list of mails looks for new ones by itself, which must not be while it is looked at.
const STAY: &str = "for (let timer = setTimeout(() => {}); timer > 0; timer--) clearTimeout(timer)";

#[tokio::test]
async fn setup_mailbox_and_unsubscribing_are_pages_like_the_others() {
    let mut walker = Walker::new().await;
    walker.open("/setup").await;
    assert!(walker.browser.text().await.contains("first administrator"));
    walker.look("setup").await;
    walker.browser.fill("code", "AAAA-BBBB-CCCC-DDDD").await;
    walker.browser.fill("email", "root@example.com").await;
    walker
        .browser
        .fill("password", crate::support::PASSWORD)
        .await;
    walker.browser.press("main form button").await;
    let text = walker.browser.text().await;
    assert!(text.contains("is not one that was shown"), "{text}");
    walker.look("setup-wrong").await;
    walker.open("/dev/mailbox").await;
    assert!(walker.browser.text().await.contains("No mail yet"));
    walker.browser.run(STAY).await;
    walker.look("mailbox-empty").await;
    walker.app.sign_up("ada@example.com").await;
    walker.app.settle().await;
    walker.open("/dev/mailbox").await;
    walker.browser.run(STAY).await;
    walker.look("mailbox").await;
    walker.browser.press(".mailbox nav a").await;
    walker.look("mailbox-mail").await;
    let framed = "document.querySelector('iframe').contentDocument";
    assert!(
        walker.browser.run(framed).await.is_null(),
        "of another origin"
    );
    let mail = walker.app.mail_to("ada@example.com").await;
    let text = mail["text"].as_str().unwrap();
    let (_, link) = text
        .split_once("/notifications/unsubscribe?")
        .expect("a link");
    let path = format!("/notifications/unsubscribe?{}", link.trim());
    walker.open(&path).await;
    walker.look("unsubscribe").await;
    walker.browser.press("main form button").await;
    assert!(walker.browser.text().await.contains("Unsubscribed"));
    walker.look("unsubscribed").await;
    walker.app.admin("root@example.com").await;
    walker.open("/setup").await;
    assert!(walker.browser.text().await.contains("Set up already"));
    let app = walker.done();
    app.settle().await;
}
