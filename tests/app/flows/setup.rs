//! The first administrator, made in the browser.

use reqwest::StatusCode;

use crate::support::{PASSWORD, TestApp, cluster::Databases};

/// The code that was shown at the terminal when the instance started.
fn shown_code(app: &TestApp) -> String {
    let notices = app.hosted().flat_map(|module| &module.notices);
    let codes = notices.filter_map(|notice| Some(notice.split_once(" with the code ")?.1));
    codes.last().expect("a code is shown").to_owned()
}

async fn submit(app: &TestApp, email: &str, code: &str, site: &str) -> StatusCode {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("code", code)
        .append_pair("email", email)
        .append_pair("password", PASSWORD)
        .append_pair("display_name", "")
        .finish();
    let request = app
        .http
        .post(format!("{}/setup", app.url))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", site)
        .body(form);
    request.send().await.expect("an answer").status()
}

#[tokio::test]
async fn codes_live_side_by_side_and_go_together() {
    let databases = Databases::fresh().await;
    let first = TestApp::on(&databases, &[]).await;
    let second = TestApp::on(&databases, &[]).await;
    let (one, other) = (shown_code(&first), shown_code(&second));
    assert_ne!(one, other);

    let wrong = submit(
        &first,
        "root@example.com",
        "AAAA-BBBB-CCCC-DDDD",
        "same-origin",
    )
    .await;
    assert_eq!(wrong, 422);
    let elsewhere = submit(&first, "root@example.com", &one, "cross-site").await;
    assert_eq!(elsewhere, 403);
    // The first instance's code, after a second one has shown its own.
    let done = submit(&second, "root@example.com", &one, "same-origin").await;
    assert_eq!(done, 201);
    let late = submit(&second, "mallory@example.com", &other, "same-origin").await;
    assert_eq!(late, 404, "there is an administrator");

    sqlx::query("UPDATE identity.users SET roles = '{user}'")
        .execute(&first.admin_of("identity"))
        .await
        .expect("the administrator is none any more");
    let old = submit(&first, "mallory@example.com", &other, "same-origin").await;
    assert_eq!(old, 422, "a code outlived the setup");
    first.settle().await;
}
