//! Debian's Chromium, told what to do over the DevTools protocol.

use std::{
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one tab, and a fresh profile.
pub struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: AtomicU64,
    /// What came in between answers.
    events: Vec<Value>,
    /// What the page said that it should not have: errors, warnings, violations of its policy.
    pub complaints: Vec<String>,
    _process: Child,
    _profile: TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let program = std::env::var("BANYAN_TEST_CHROMIUM").unwrap_or_else(|_| "chromium".into());
        let mut process = Command::new(program)
            .args([
                "--headless=new",
                "--remote-debugging-port=0",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--hide-scrollbars",
                "--lang=en",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium starts: scripts/install-browser.sh");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let address = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.expect("a line") {
                if let Some(url) = line.strip_prefix("DevTools listening on ws://") {
                    return url.split('/').next().expect("a host").to_owned();
                }
            }
            panic!("chromium ended");
        });
        let address = address.await.expect("chromium says where it listens");
        // Its chatter must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let tabs: Value = reqwest::get(format!("http://{address}/json/list"))
            .await
            .expect("a list of tabs")
            .json()
            .await
            .expect("JSON");
        let mut tab = tabs.as_array().expect("a list").iter();
        let tab = tab.find(|tab| tab["type"] == "page").expect("a tab");
        let url = tab["webSocketDebuggerUrl"].as_str().expect("an address");
        let (socket, _) = connect_async(url).await.expect("a connection");
        let mut browser = Self {
            socket,
            next_id: AtomicU64::new(1),
            events: Vec::new(),
            complaints: Vec::new(),
            _process: process,
            _profile: profile,
        };
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Calls a method and waits for its answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let message = json!({ "id": id, "method": method, "params": params });
        let message = Message::text(message.to_string());
        self.socket.send(message).await.expect("chromium listens");
        loop {
            let answer = self.receive().await;
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.note(answer);
        }
    }

    async fn receive(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await;
            let message = message.unwrap_or_else(|_| {
                let last: Vec<String> = self
                    .events
                    .iter()
                    .rev()
                    .take(8)
                    .map(Value::to_string)
                    .collect();
                panic!("chromium says nothing more; last, from the end: {last:#?}")
            });
            let message = message.expect("chromium lives").expect("a message");
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    fn note(&mut self, event: Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] != "log" => Some(params.to_string()),
            // The status of a page is looked at by its test.
            Some("Log.entryAdded") if params["entry"]["source"] != "network" => {
                Some(params["entry"].to_string())
            }
            Some("Audits.issueAdded") => {
                let issue = &params["issue"];
                (issue["code"] == "ContentSecurityPolicyIssue").then(|| issue.to_string())
            }
            _ => None,
        };
        self.complaints.extend(complaint);
        self.events.push(event);
    }

    /// Opens an address and waits until it is shown.
    pub async fn open(&mut self, url: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.loaded().await;
    }

    /// Waits until the page that is coming is shown.
    pub async fn loaded(&mut self) {
        loop {
            if let Some(at) = self
                .events
                .iter()
                .position(|event| event["method"] == "Page.loadEventFired")
            {
                self.events.drain(..=at);
                return;
            }
            let event = self.receive().await;
            self.note(event);
        }
    }

    /// Runs a script and gives its value. Works where scripts of pages do not.
    pub async fn run(&mut self, script: &str) -> Value {
        let params = json!({
            "expression": script, "returnByValue": true, "awaitPromise": true,
        });
        let answer = self.call("Runtime.evaluate", params).await;
        let trouble = &answer["exceptionDetails"];
        assert!(trouble.is_null(), "{script:.200}: {trouble}");
        answer["result"]["value"].clone()
    }

    pub async fn text(&mut self) -> String {
        let text = self.run("document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    pub async fn path(&mut self) -> String {
        let path = self.run("location.pathname + location.search").await;
        path.as_str().unwrap_or_default().to_owned()
    }

    /// Types into the field of this name, as a person would.
    pub async fn fill(&mut self, name: &str, value: &str) {
        let focus = format!(
            "(() => {{ const field = document.querySelector('[name={name}]'); \
             field.focus(); field.value = ''; }})()"
        );
        self.run(&focus).await;
        self.call("Input.insertText", json!({ "text": value }))
            .await;
    }

    /// Presses what the selector finds, and waits for the page that comes.
    pub async fn press(&mut self, selector: &str) {
        self.events.clear();
        let script = format!("document.querySelector({selector:?}).click()");
        self.run(&script).await;
        self.loaded().await;
    }

    pub async fn viewport(&mut self, width: u32, height: u32) {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", params)
            .await;
    }

    pub async fn theme(&mut self, theme: &str) {
        // Without motion: a colour on its way from one theme to the other is neither's.
        let features = json!([
            { "name": "prefers-color-scheme", "value": theme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        let params = json!({ "features": features });
        self.call("Emulation.setEmulatedMedia", params).await;
    }

    pub async fn scripts(&mut self, allowed: bool) {
        let params = json!({ "value": !allowed });
        self.call("Emulation.setScriptExecutionDisabled", params)
            .await;
    }

    /// The whole page, as PNG.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", params).await;
        let data = answer["data"].as_str().expect("a picture");
        BASE64_STANDARD.decode(data).expect("base64")
    }
}
