//! Somebody who walks through pages and looks at each: in both themes, on a wide screen and on a phone.

use std::{fs, path::PathBuf};

use super::chromium::Browser;
use crate::support::{PASSWORD, Person, TestApp};

const WIDE: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

/// Somebody with a browser.
pub struct Walker {
    pub app: TestApp,
    pub browser: Browser,
    axe: String,
    /// What was wrong, page by page: all of it is told at the end.
    wrong: Vec<String>,
}

impl Walker {
    pub async fn new() -> Self {
        let axe = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/axe.min.js");
        Self {
            app: TestApp::start().await,
            browser: Browser::start().await,
            axe: fs::read_to_string(axe).expect("scripts/install-browser.sh was run"),
            wrong: Vec::new(),
        }
    }

    pub async fn open(&mut self, path: &str) {
        // As people know it: cookies are for the host of the address.
        let url = format!("{}{path}", self.app.url);
        self.browser.open(&url).await;
    }

    /// Looks at the present page in each theme and width, and has its faults found.
    pub async fn look(&mut self, name: &str) {
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

    /// Signs somebody in who has an account.
    pub async fn sign_in(&mut self, email: &str) {
        self.open("/sign-in").await;
        self.browser.fill("email", email).await;
        self.browser.fill("password", PASSWORD).await;
        self.browser.press("main form button:not([type])").await;
        assert_eq!(self.browser.path().await, "/account");
    }

    /// An administrator, signed in.
    pub async fn sign_in_admin(&mut self) -> Person {
        let admin = self.app.admin("root@example.com").await;
        self.sign_in("root@example.com").await;
        admin
    }

    /// Tells of everything that was wrong.
    pub fn done(self) -> TestApp {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        self.app
    }
}
