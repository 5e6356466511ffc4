use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::sync::Semaphore;

use super::*;
use crate::http_client;

/// A token endpoint on the loopback: answers what it is told to, as often as it may.
struct Endpoint {
    requests: Arc<AtomicUsize>,
    answer: Arc<Mutex<(u16, String)>>,
    /// One permit per answer.
    go: Arc<Semaphore>,
    token: Arc<ServiceToken>,
}

const PLENTY: usize = 1_000;

impl Endpoint {
    async fn start(permits: usize) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new((200, String::new())));
        let go = Arc::new(Semaphore::new(permits));
        let handler = {
            let (requests, answer, go) = (requests.clone(), answer.clone(), go.clone());
            move |headers: HeaderMap, body: String| async move {
                assert_eq!(body, "grant_type=client_credentials");
                let basic = BASE64_STANDARD.encode("edge:bys_a%2Bb%25");
                assert_eq!(headers["authorization"], format!("Basic {basic}"));
                let n = requests.fetch_add(1, Ordering::SeqCst) + 1;
                go.acquire().await.expect("never closed").forget();
                let (status, text) = answer.lock().unwrap().clone();
                let status = StatusCode::from_u16(status).unwrap();
                (status, text.replace('#', &n.to_string()))
            }
        };
        let router = Router::new().route("/token", post(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        let token = Arc::new(ServiceToken {
            id: "edge".to_owned(),
            secret: Secret::new("bys_a+b%"),
            url: url.parse().unwrap(),
            http: http_client::client(),
            state: Mutex::default(),
        });
        let endpoint = Self {
            requests,
            answer,
            go,
            token,
        };
        endpoint.answers(200, &good(900));
        endpoint
    }

    fn answers(&self, status: u16, text: &str) {
        *self.answer.lock().unwrap() = (status, text.to_owned());
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    async fn get(&self, now: Instant) -> Result<String, Error> {
        let token = self.token.get_at(now).await?;
        Ok(token.expose().to_owned())
    }

    /// Waits for the fetch that runs behind a caller's back.
    async fn settle(&self) {
        let running = self.token.state.lock().unwrap().running.clone();
        if let Some(mut running) = running {
            let _ = running.changed().await;
        }
    }
}

fn good(expires_in: u64) -> String {
    format!(r##"{{"access_token":"token-#","token_type":"bearer","expires_in":{expires_in}}}"##)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn any_number_of_callers_share_one_fetch() {
    let endpoint = Endpoint::start(0).await;
    let now = Instant::now();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let token = Arc::clone(&endpoint.token);
            tokio::spawn(async move { token.get_at(now).await })
        })
        .collect();
    tokio::task::yield_now().await;
    // The first gives up, and takes nothing with it.
    callers[0].abort();
    endpoint.go.add_permits(PLENTY);
    for caller in callers.into_iter().skip(1) {
        assert_eq!(caller.await.unwrap().unwrap().expose(), "token-1");
    }
    assert_eq!(endpoint.requests(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_while_it_is_used() {
    let endpoint = Endpoint::start(1).await;
    let now = Instant::now();
    assert_eq!(endpoint.get(now).await.unwrap(), "token-1");
    assert_eq!(endpoint.get(now + 600 * SECOND).await.unwrap(), "token-1");
    assert_eq!(endpoint.requests(), 1);
    // The next is on its way; nobody waits for it.
    let later = now + 700 * SECOND;
    for _ in 0..10 {
        assert_eq!(endpoint.get(later).await.unwrap(), "token-1");
    }
    endpoint.go.add_permits(PLENTY);
    endpoint.settle().await;
    assert_eq!(endpoint.get(later).await.unwrap(), "token-2");
    // It cannot be renewed for a while, and then not at all.
    endpoint.answers(503, "");
    for seconds in [700, 800, 869] {
        let token = endpoint.get(later + seconds * SECOND).await;
        assert_eq!(token.unwrap(), "token-2");
        endpoint.settle().await;
    }
    assert!(endpoint.get(later + 870 * SECOND).await.is_err());
    assert_eq!(endpoint.requests(), 5);
}

#[tokio::test]
async fn a_failure_is_the_answer_for_a_while_that_grows() {
    let endpoint = Endpoint::start(PLENTY).await;
    endpoint.answers(
        401,
        r#"{"error":"invalid_client","error_description":"no"}"#,
    );
    let mut now = Instant::now();
    for (asked, pause) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
        let error = endpoint.get(now).await.unwrap_err();
        let expected = Error::Refused {
            url: endpoint.token.url.clone(),
            id: "edge".to_owned(),
            status: 401,
            code: "invalid_client".to_owned(),
        };
        assert_eq!(error, expected);
        assert!(!format!("{error} {error:?}").contains("bys_"));
        // The fetch itself took a moment.
        for _ in 0..10 {
            let error = endpoint.get(now + pause * SECOND).await;
            assert_eq!(error.unwrap_err(), expected);
        }
        assert_eq!(endpoint.requests(), asked + 1);
        now += pause * SECOND + 10 * SECOND;
    }
    endpoint.answers(200, &good(900));
    assert_eq!(endpoint.get(now).await.unwrap(), "token-8");
}

#[tokio::test]
async fn what_is_no_token_is_none() {
    for (status, answer) in [
        (200, ""),
        (200, "{}"),
        (200, &*good(900).replace("bearer", "mac")),
        (200, &*good(900).replace("token-#", "a b")),
        (200, &*good(900).replace("token-#", "")),
        (200, &*good(0)),
        (200, &*good(900).replace("token-#", &"x".repeat(20_000))),
        (307, ""),
        (400, r#"{"error":"<b>not a code</b>"}"#),
        (500, &*good(900)),
    ] {
        let endpoint = Endpoint::start(PLENTY).await;
        endpoint.answers(status, answer);
        let error = endpoint.get(Instant::now()).await.unwrap_err();
        assert!(!error.to_string().contains("<b>"), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_was_refused_is_replaced_unless_it_is_new() {
    let endpoint = Endpoint::start(PLENTY).await;
    let now = Instant::now();
    let first = endpoint.token.get_at(now).await.unwrap();
    let refused = |token: &Secret, after: u32| {
        endpoint.token.refused_at(token, now + after * SECOND);
    };
    refused(&first, 9);
    refused(&Secret::new("another"), 60);
    assert_eq!(endpoint.get(now + 60 * SECOND).await.unwrap(), "token-1");
    refused(&first, 60);
    assert_eq!(endpoint.get(now + 60 * SECOND).await.unwrap(), "token-2");
    // Somebody hears of the first only now.
    refused(&first, 120);
    assert_eq!(endpoint.get(now + 120 * SECOND).await.unwrap(), "token-2");
}

#[tokio::test]
async fn a_short_life_has_a_short_margin() {
    let endpoint = Endpoint::start(PLENTY).await;
    endpoint.answers(200, &good(60));
    let now = Instant::now();
    for (after, token) in [(0, "token-1"), (33, "token-1"), (46, "token-2")] {
        assert_eq!(endpoint.get(now + after * SECOND).await.unwrap(), token);
    }
}
