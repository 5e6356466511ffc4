//! A person signs up: from the registration over the code in the mailbox to the profile and the
//! welcome, through every module.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    Place,
    process::{Banyan, PASSWORD},
    split::{MODULES, Split},
    table::{Table, quantile},
};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 4;
/// Between two looks into a mailbox: as fine as the figures need, and no load to speak of.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// Who has signed up.
pub struct Account {
    pub access_token: String,
    pub user_id: String,
}

/// Until the profile is there; it follows by an event, which the profile's own route waits for.
pub async fn sign_up(http: &Client, address: &str, email: &str) -> anyhow::Result<Account> {
    let url = |path: &str| format!("http://{address}{path}");
    let body = json!({ "email": email, "password": PASSWORD });
    let registrations = url("/api/v1/auth/registrations");
    let registration = answer(http.post(&registrations).json(&body)).await?;
    let id = registration["id"].as_str().context("an id")?;
    let mailbox = http.get(url(&format!("/dev/mailbox/messages?to={email}")));
    let code = until(&mailbox, |mails| six_digits(mails[0]["text"].as_str()?)).await?;
    let verify = format!("{registrations}/{id}/verify");
    let tokens = answer(http.post(verify).json(&json!({ "code": code }))).await?;
    let text = |name: &str| tokens[name].as_str().context("a token").map(str::to_owned);
    let account = Account {
        access_token: text("access_token")?,
        user_id: text("user_id")?,
    };
    let profile = http.get(url("/api/v1/profiles/me"));
    answer(profile.bearer_auth(&account.access_token)).await?;
    Ok(account)
}

/// And until the welcome is among the notifications.
async fn sign_up_whole(http: &Client, address: &str, email: &str) -> anyhow::Result<()> {
    let account = sign_up(http, address, email).await?;
    let inbox = http.get(format!("http://{address}/api/v1/notifications"));
    let inbox = inbox.bearer_auth(&account.access_token);
    until(&inbox, |inbox| inbox["items"].get(0).cloned()).await?;
    Ok(())
}

fn six_digits(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    words.find(|word| word.len() == 6).map(str::to_owned)
}

async fn answer(request: RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await?;
    ensure!(status.is_success(), "{url} answers {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// Asks again and again, until what is looked for is in the answer.
async fn until<T>(
    request: &RequestBuilder,
    found: impl Fn(&Value) -> Option<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        let asked = request.try_clone().context("a request without a body")?;
        if let Some(found) = found(&answer(asked).await?) {
            return Ok(found);
        }
        ensure!(started.elapsed() < PATIENCE, "nothing comes: {request:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where people sign up, and how it went.
struct Site {
    name: &'static str,
    address: String,
    millis: Vec<f64>,
    rates: Vec<f64>,
}

impl Site {
    fn new(name: &'static str, address: &str) -> Self {
        Self {
            name,
            address: address.to_owned(),
            millis: Vec::new(),
            rates: Vec::new(),
        }
    }

    async fn round(&mut self, http: &Client, people: &Arc<AtomicU32>) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (http, address) = (http.clone(), self.address.clone());
            let people = Arc::clone(people);
            tasks.spawn(async move {
                let mut millis = Vec::new();
                while started.elapsed() < ROUND {
                    let email = format!("p{}@example.com", people.fetch_add(1, Ordering::Relaxed));
                    let began = Instant::now();
                    sign_up_whole(&http, &address, &email).await?;
                    millis.push(began.elapsed().as_secs_f64() * 1_000.0);
                }
                anyhow::Ok(millis)
            });
        }
        let before = self.millis.len();
        while let Some(millis) = tasks.join_next().await {
            self.millis.extend(millis??);
        }
        let count = self.millis.len() - before;
        self.rates
            .push(count as f64 / started.elapsed().as_secs_f64());
        Ok(())
    }
}

pub async fn measure(place: &Place, banyan: &Banyan, table: &mut Table) -> anyhow::Result<()> {
    let split = Split::start(place.folder.join("split"), &MODULES, "").await?;
    let mut sites = [
        Site::new("one process", &banyan.address),
        Site::new("five processes", &split.address),
    ];
    let (http, people) = (Client::new(), Arc::default());
    // The first through fresh processes finds pools and consumers still to be made.
    for site in &sites {
        sign_up_whole(&http, &site.address, "first@example.com").await?;
    }
    for _ in 0..ROUNDS {
        for site in &mut sites {
            site.round(&http, &people).await?;
        }
    }
    for site in &sites {
        let what = format!("sign-up to welcome, {} at once, {},", AT_ONCE, site.name);
        for (name, at) in [("p50", 0.5), ("p99", 0.99)] {
            table.figure(
                &format!("{what} {name}"),
                quantile(&site.millis, at),
                "ms",
                None,
            );
        }
    }
    let what = "sign-ups on five processes, of one";
    table.ratio(what, "/s", &sites[1].rates, &sites[0].rates, None);
    Ok(())
}
