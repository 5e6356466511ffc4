//! The pages of sign-up, sign-in and account, as somebody meets them who comes for the first time.

use serde_json::json;

use super::walker::Walker;
use crate::support::PASSWORD;

#[tokio::test]
async fn from_sign_up_to_a_forgotten_password() {
    let mut walker = Walker::new().await;
    for (name, path) in [
        ("sign-in", "/sign-in"),
        ("sign-in-mail", "/sign-in/mail"),
        ("sign-up", "/sign-up"),
        ("password-forgot", "/password/forgot"),
        ("not-found", "/sign-in/nowhere"),
    ] {
        walker.open(path).await;
        walker.look(name).await;
    }
    // Who wants a page of theirs is asked to sign in, and comes back to it after.
    walker.open("/account/sessions").await;
    assert_eq!(
        walker.browser.path().await,
        "/sign-in?next=%2Faccount%2Fsessions"
    );

    // An account, as people make one.
    walker.open("/sign-up").await;
    walker.browser.fill("email", "ada@example.com").await;
    walker.browser.fill("display_name", "Ada Lovelace").await;
    walker.browser.fill("password", "password").await;
    walker.browser.press("main form button:not([type])").await;
    assert!(walker.browser.text().await.contains("tried first"));
    walker.look("sign-up-wrong").await;
    walker.browser.fill("password", PASSWORD).await;
    walker.browser.press("main form button:not([type])").await;
    assert!(
        walker
            .browser
            .path()
            .await
            .starts_with("/sign-up/verify?id=")
    );
    walker.look("sign-up-verify").await;
    let code = walker.app.code_for("ada@example.com").await;
    walker.browser.fill("code", "000000").await;
    walker.browser.press("main form button").await;
    assert!(walker.browser.text().await.contains("The code is wrong"));
    walker.browser.fill("code", &code).await;
    walker.browser.press("main form button").await;
    assert_eq!(walker.browser.path().await, "/account");
    walker.app.settle().await;
    walker.look("account").await;

    // Signed in elsewhere too, and signed out there.
    let there = walker.app.login("ada@example.com").await;
    walker.open("/account/sessions").await;
    walker.look("account-sessions").await;
    walker.browser.press(".rows form button").await;
    assert!(walker.browser.text().await.contains("Signed out there."));
    walker.app.settle().await;
    let me = walker.app.get("/api/v1/auth/me", &there.access_token).await;
    me.problem(401, "invalid-token");

    // Another password.
    walker.open("/account/password").await;
    walker
        .browser
        .fill("current_password", "not that one")
        .await;
    walker
        .browser
        .fill("new_password", "staple battery horse")
        .await;
    walker.browser.press("main form button:not([type])").await;
    walker.look("account-password-wrong").await;
    walker.browser.fill("current_password", PASSWORD).await;
    walker
        .browser
        .fill("new_password", "staple battery horse")
        .await;
    walker.browser.press("main form button:not([type])").await;
    assert!(walker.browser.text().await.contains("is changed"));
    walker.look("account-password").await;

    // Signed out, the cookie is worth nothing; and in again by the link of a mail.
    walker.browser.press(".who form button").await;
    assert_eq!(walker.browser.path().await, "/sign-in");
    walker.open("/account").await;
    assert_eq!(walker.browser.path().await, "/sign-in?next=%2Faccount");
    walker
        .open("/sign-in/mail?next=%2Faccount%2Fsessions")
        .await;
    walker.browser.fill("email", "ada@example.com").await;
    walker.browser.press("main form button").await;
    assert!(walker.browser.path().await.starts_with("/sign-in/code?id="));
    walker.look("sign-in-code").await;
    let code = walker.app.code_for("ada@example.com").await;
    walker.browser.fill("code", &code).await;
    walker.browser.press("main form button").await;
    assert_eq!(walker.browser.path().await, "/account/sessions");
    walker.browser.press(".who form button").await;

    // A forgotten password.
    walker.open("/password/forgot").await;
    walker.browser.fill("email", "ada@example.com").await;
    walker.browser.press("main form button").await;
    walker.look("password-reset").await;
    let code = walker.app.code_for("ada@example.com").await;
    walker.browser.fill("code", &code).await;
    walker.browser.fill("new_password", PASSWORD).await;
    walker.browser.press("main form button:not([type])").await;
    assert_eq!(walker.browser.path().await, "/account");
    let app = walker.done();
    app.settle().await;
}

#[tokio::test]
async fn pages_work_without_scripts_and_speak_the_browsers_language() {
    let mut walker = Walker::new().await;
    walker.app.sign_up("ada@example.com").await;
    walker.browser.scripts(false).await;
    let headers = json!({ "headers": { "Accept-Language": "de-AT,de;q=0.9" } });
    walker
        .browser
        .call("Network.setExtraHTTPHeaders", headers)
        .await;
    walker
        .open("/sign-in?next=https%3A%2F%2Fevil.example")
        .await;
    assert!(walker.browser.text().await.contains("Passwort vergessen?"));
    walker.browser.fill("email", "ada@example.com").await;
    walker.browser.fill("password", PASSWORD).await;
    walker.browser.press("main form button:not([type])").await;
    assert_eq!(walker.browser.path().await, "/account");
    assert!(walker.browser.text().await.contains("Konto seit"));
    walker.browser.press(".who form button").await;
    assert_eq!(walker.browser.path().await, "/sign-in");
    let app = walker.done();
    app.settle().await;
}
