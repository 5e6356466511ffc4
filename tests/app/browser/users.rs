//! What administrators do with accounts.

use reqwest::Method;
use serde_json::{Value, json};

use super::walker::Walker;
use crate::support::{PASSWORD, TestApp};

const USERS: &str = "/api/v1/users";
const ME: &str = "/api/v1/auth/me";

#[tokio::test]
async fn administrators_find_people_and_shut_them_out() {
    let mut walker = Walker::new().await;
    for name in ["ada", "bob", "carol"] {
        walker.app.sign_up(&format!("{name}@example.com")).await;
    }
    let bob = walker.app.login("bob@example.com").await;
    walker.sign_in_admin().await;
    walker.open("/admin").await;
    assert!(walker.browser.text().await.contains("ready"));
    walker.look("admin").await;
    walker.open("/admin/users").await;
    walker.look("admin-users").await;
    walker.open("/admin/users?q=nobody").await;
    assert!(walker.browser.text().await.contains("Nobody is found"));
    walker.look("admin-users-none").await;
    walker.open("/admin/users?q=BOB").await;
    walker.browser.press("#found td a").await;
    walker.look("admin-user").await;
    walker.browser.run("window.confirm = () => true").await;
    walker.browser.press("form[action$=suspend] button").await;
    assert!(walker.browser.text().await.contains("is suspended"));
    walker.look("admin-user-suspended").await;
    walker.app.settle().await;
    let me = walker.app.get(ME, &bob.access_token).await;
    me.problem(401, "invalid-token");
    let app = walker.done();
    app.settle().await;
}

#[tokio::test]
async fn the_overview_is_for_administrators() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let of = async |token| app.send(Method::GET, "/admin", token, None, &[]).await;
    of(None).await.problem(401, "unauthorized");
    of(Some("not.a.token")).await.problem(401, "invalid-token");
    of(Some(&ada.access_token)).await.problem(403, "forbidden");
    app.settle().await;
}

#[tokio::test]
async fn who_is_suspended_gets_in_by_no_door() {
    let app = TestApp::start().await;
    let root = app.admin("root@example.com").await;
    let ada = app.sign_up("ada@example.com").await;
    let act = async |token: &str, id: &str, act: &str| {
        let path = format!("{USERS}/{id}/{act}");
        app.send(Method::POST, &path, Some(token), None, &[]).await
    };
    act(&ada.access_token, &root.user_id, "suspend")
        .await
        .problem(403, "forbidden");
    act(&root.access_token, &root.user_id, "suspend")
        .await
        .problem(409, "own-account");
    act(
        &root.access_token,
        "00000000-0000-7000-8000-000000000000",
        "suspend",
    )
    .await
    .problem(404, "not-found");
    let nobody = "00000000-0000-7000-8000-000000000000";
    for what in ["reinstate", "sign-out"] {
        act(&root.access_token, nobody, what)
            .await
            .problem(404, "not-found");
    }
    act(&root.access_token, &ada.user_id, "suspend")
        .await
        .expect(204);
    act(&root.access_token, &ada.user_id, "suspend")
        .await
        .expect(204);
    app.settle().await;

    app.get(ME, &ada.access_token)
        .await
        .problem(401, "invalid-token");
    app.post(
        "/api/v1/auth/refresh",
        json!({ "refresh_token": ada.refresh_token }),
    )
    .await
    .problem(401, "invalid-refresh-token");
    let login = |password: &str| {
        let body = json!({ "email": "ada@example.com", "password": password });
        app.post("/api/v1/auth/login", body)
    };
    // Only who knows the password is told.
    login("wrong wrong wrong")
        .await
        .problem(401, "invalid-credentials");
    login(PASSWORD).await.problem(403, "account-suspended");
    // No code reaches them, and asking is answered as ever.
    app.settle().await;
    let before = app.mails().await.len();
    for path in ["/api/v1/auth/login/code", "/api/v1/auth/password/forgot"] {
        app.post(path, json!({ "email": "ada@example.com" }))
            .await
            .expect(202);
    }
    app.settle().await;
    assert_eq!(app.mails().await.len(), before);

    act(&root.access_token, &ada.user_id, "reinstate")
        .await
        .expect(204);
    login(PASSWORD).await.expect(200);
    app.settle().await;
}

#[tokio::test]
async fn a_code_from_before_the_suspension_is_no_way_in() {
    let app = TestApp::start().await;
    let root = app.admin("root@example.com").await;
    let ada = app.sign_up("ada@example.com").await;
    let asked = app
        .post(
            "/api/v1/auth/login/code",
            json!({ "email": "ada@example.com" }),
        )
        .await
        .expect(202);
    let id = asked.json()["id"].clone();
    let code = app.code_for("ada@example.com").await;
    let path = format!("{USERS}/{}/suspend", ada.user_id);
    app.send(Method::POST, &path, Some(&root.access_token), None, &[])
        .await
        .expect(204);
    app.post(
        "/api/v1/auth/login/code/verify",
        json!({ "id": id, "code": code }),
    )
    .await
    .problem(401, "invalid-credentials");
    app.settle().await;
}

#[tokio::test]
async fn a_role_that_was_taken_is_gone_from_tokens_at_once() {
    let app = TestApp::start().await;
    let root = app.admin("root@example.com").await;
    let ada = app.sign_up("ada@example.com").await;
    let path = format!("{USERS}/{}/roles/admin", ada.user_id);
    let role =
        async |method: Method, token: &str| app.send(method, &path, Some(token), None, &[]).await;
    role(Method::PUT, &ada.access_token)
        .await
        .problem(403, "forbidden");
    role(Method::PUT, &root.access_token).await.expect(204);
    let ada = app.login("ada@example.com").await;
    app.get(USERS, &ada.access_token).await.expect(200);
    role(Method::DELETE, &ada.access_token)
        .await
        .problem(409, "own-account");
    role(Method::DELETE, &root.access_token).await.expect(204);
    app.settle().await;
    app.get(USERS, &ada.access_token)
        .await
        .problem(401, "invalid-token");
    // The session lives, and gives tokens without the role.
    let body = json!({ "refresh_token": ada.refresh_token });
    let fresh = app
        .post("/api/v1/auth/refresh", body)
        .await
        .expect(200)
        .json();
    let token = fresh["access_token"].as_str().unwrap();
    app.get(ME, token).await.expect(200);
    app.get(USERS, token).await.problem(403, "forbidden");
    app.settle().await;
}

#[tokio::test]
async fn of_two_administrators_who_shut_each_other_out_one_stays() {
    let app = TestApp::start().await;
    let one = app.admin("one@example.com").await;
    let two = app.admin("two@example.com").await;
    let suspend = |actor: String, id: String| {
        let path = format!("{USERS}/{id}/suspend");
        async {
            app.send(Method::POST, &{ path }, Some(&{ actor }), None, &[])
                .await
        }
    };
    let answers = futures::join!(
        suspend(one.access_token, two.user_id.clone()),
        suspend(two.access_token, one.user_id.clone()),
    );
    let mut statuses = [answers.0.status.as_u16(), answers.1.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 204, "{statuses:?}");
    assert!([401, 403].contains(&statuses[1]), "{statuses:?}");
    let active: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM identity.users WHERE 'admin' = ANY (roles) AND suspended_at IS NULL",
    )
    .fetch_one(&app.admin_of("identity"))
    .await
    .unwrap();
    assert_eq!(active, 1);
    app.settle().await;
}

#[tokio::test]
async fn people_are_found_by_the_beginnings_of_words() {
    let app = TestApp::start().await;
    let root = app.admin("root@example.com").await;
    let ada = app.sign_up("ada.lovelace@analytical.example").await;
    let find = async |query: &str| {
        let answer = app
            .get(&format!("{USERS}?{query}"), &root.access_token)
            .await;
        let found: Value = answer.expect(200).json();
        let items = found["items"].as_array().unwrap().clone();
        let emails = items
            .iter()
            .map(|user| user["email"].as_str().unwrap().to_owned());
        emails.collect::<Vec<_>>()
    };
    for query in [
        "q=LOVE",
        "q=ada.love",
        "q=analyt%20ada",
        &format!("q={}", ada.user_id),
    ] {
        assert_eq!(
            find(query).await,
            ["ada.lovelace@analytical.example"],
            "{query}"
        );
    }
    for query in [
        "q=ovelace",
        "q=%27%20OR%201%3D1",
        "q=%40%40",
        "suspended=true",
    ] {
        assert!(find(query).await.is_empty(), "{query}");
    }
    assert_eq!(find("role=admin").await, ["root@example.com"]);
    assert_eq!(find("limit=1").await, ["ada.lovelace@analytical.example"]);
    app.get(&format!("{USERS}?page_size=0"), &root.access_token)
        .await
        .problem(422, "validation-failed");
    app.get(&format!("{USERS}?cursor=forged"), &root.access_token)
        .await
        .problem(422, "validation-failed");
    app.settle().await;
}
