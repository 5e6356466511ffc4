//! A walk through every page: in both themes, on a wide screen and on a phone, with scripts and without.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::chromium::Browser;
use crate::support::{PASSWORD, TestApp};

const WIDE: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

/// Somebody with a browser.
struct Walker {
    app: TestApp,
    browser: Browser,
    axe: String,
    /// What was wrong, page by page: all of it is told at the end.
    wrong: Vec<String>,
}

impl Walker {
    async fn new() -> Self {
        let axe = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/axe.min.js");
        Self {
            app: TestApp::start().await,
            browser: Browser::start().await,
            axe: fs::read_to_string(axe).expect("scripts/install-browser.sh was run"),
            wrong: Vec::new(),
        }
    }

    async fn open(&mut self, path: &str) {
        // As people know it: cookies are for the host of the address.
        let url = format!("{}{path}", self.app.url);
        self.browser.open(&url).await;
    }

    /// Looks at the present page in each theme and width, and has its faults found.
    async fn look(&mut self, name: &str) {
        for (size, (width, height)) in [("wide", WIDE), ("phone", PHONE)] {
            self.browser.viewport(width, height).await;
            for theme in ["light", "dark"] {
                self.browser.theme(theme).await;
                self.inspect(&format!("{name}-{size}-{theme}")).await;
            }
        }
        self.browser.viewport(WIDE.0, WIDE.1).await;
        self.browser.theme("light").await;
        let complaints = std::mem::take(&mut self.browser.complaints);
        let said = complaints
            .into_iter()
            .map(|said| format!("{name} says {said}"));
        self.wrong.extend(said);
    }

    async fn inspect(&mut self, name: &str) {
        let wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        if self.browser.run(wider).await != 0 {
            self.wrong.push(format!("{name} is wider than its screen"));
        }
        let axe = format!(
            "if (!window.axe) {{ {} }}; axe.run(document, {{ resultTypes: ['violations'] }}).then(\
             found => found.violations.map(v => v.id + ': ' + v.help + ' at ' + \
             v.nodes.map(n => n.target.join(' ')).join(', ')))",
            self.axe
        );
        let found = self.browser.run(&axe).await;
        for violation in found.as_array().expect("a list") {
            self.wrong
                .push(format!("{name}: {}", violation.as_str().unwrap()));
        }
        let picture = self.browser.screenshot().await;
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(format!("{name}.png")), picture).expect("a file");
    }

    fn done(self) -> TestApp {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        self.app
    }
}

#[tokio::test]
async fn every_page_of_people_is_as_it_should_be() {
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
