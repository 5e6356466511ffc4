use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode, jwk::Jwk};
use tokio::sync::Notify;

use super::*;
use crate::{
    Claims, SeededRandom, TestClock, World,
    telemetry::{LogBuffer, LogLayer},
    token::TOKEN_TYPE,
};

/// A key of the publisher.
struct Key {
    private: EncodingKey,
    jwk: Jwk,
}

impl Key {
    fn new(n: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap();
        let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
        let mut jwk = Jwk::from_decoding_key(&public, Some(Algorithm::EdDSA)).unwrap();
        jwk.common.key_id = Some(format!("key-{n}"));
        let private = EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
        Self { private, jwk }
    }

    /// A service's token, good for a year.
    fn token(&self) -> String {
        let now = World::system().now().unix_timestamp();
        let claims = Claims {
            iss: "https://issuer.test".to_owned(),
            sub: "edge".to_owned(),
            aud: "banyan".to_owned(),
            exp: now + 365 * 86_400,
            iat: now,
            jti: World::system().uuid(),
            client_id: "edge".to_owned(),
            scope: String::new(),
            roles: Vec::new(),
            sid: None,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = self.jwk.common.key_id.clone();
        encode(&header, &claims, &self.private).unwrap()
    }
}

/// Counts, and answers what it is told to.
#[derive(Default)]
struct Source {
    fetches: AtomicUsize,
    answer: Mutex<Answer>,
    /// An answer that waits does so until it is notified.
    go: Notify,
}

#[derive(Clone, Default)]
enum Answer {
    Keys(Vec<Jwk>),
    Late(Vec<Jwk>),
    #[default]
    Failure,
    Panic,
}

#[async_trait]
impl KeySource for Source {
    async fn fetch(&self) -> anyhow::Result<JwkSet> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Keys(keys) => Ok(JwkSet { keys }),
            Answer::Late(keys) => {
                self.go.notified().await;
                Ok(JwkSet { keys })
            }
            Answer::Failure => anyhow::bail!("connection refused"),
            Answer::Panic => panic!("a source may panic"),
        }
    }
}

impl Source {
    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

fn verifier() -> (Arc<Verifier>, Arc<Source>) {
    let source = Arc::new(Source::default());
    let verifier = Verifier::new("https://issuer.test", "banyan", World::system());
    verifier.set_caught_up();
    let verifier = verifier.with_key_source(Arc::clone(&source) as _);
    (Arc::new(verifier), source)
}

#[tokio::test(start_paused = true)]
async fn any_number_of_requests_share_one_fetch() {
    let (verifier, source) = verifier();
    let key = Key::new(1);
    source.answers(Answer::Late(vec![key.jwk.clone()]));
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, token) = (Arc::clone(&verifier), key.token());
            tokio::spawn(async move { verifier.authenticate(&token).await })
        })
        .collect();
    // The first of them goes away, and takes nothing with it.
    tokio::task::yield_now().await;
    requests[0].abort();
    source.go.notify_one();
    for request in requests.into_iter().skip(1) {
        let principal = request.await.unwrap().unwrap();
        assert_eq!(principal.actor(), "service:edge");
    }
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_costs_one_fetch_in_ten_seconds_and_no_waiting() {
    let (verifier, source) = verifier();
    source.answers(Answer::Keys(vec![Key::new(1).jwk]));
    let unknown = Key::new(2).token();
    assert!(verifier.authenticate(&unknown).await.is_err());
    let began = Instant::now();
    for _ in 0..1_000 {
        assert!(verifier.authenticate(&unknown).await.is_err());
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(source.fetches(), 1);

    // It is published meanwhile, and known as soon as may be.
    let mut nameless = Key::new(3).jwk;
    nameless.common.key_id = None;
    let strange = serde_json::from_str(r#"{"kty":"of a later release","kid":"key-4"}"#).unwrap();
    source.answers(Answer::Keys(vec![nameless, strange, Key::new(2).jwk]));
    sleep(PAUSE).await;
    assert!(verifier.authenticate(&unknown).await.is_ok());
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_tokens_that_name_an_unknown_key_are_worth_a_fetch() {
    let (verifier, source) = verifier();
    let key = Key::new(1);
    verifier.add_key(&key.jwk).unwrap();
    let token = key.token();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    let long = format!("{}.{}", Key::new(2).token(), "x".repeat(4_096));
    for bad in ["", "x.y.z", &forged, &long] {
        assert!(verifier.authenticate(bad).await.is_err());
    }
    assert!(verifier.authenticate(&token).await.is_ok());
    assert_eq!(source.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_before_revocations_are_known() {
    let source = Arc::new(Source::default());
    let verifier = Verifier::new("https://issuer.test", "banyan", World::system());
    let verifier = Arc::new(verifier.with_key_source(Arc::clone(&source) as _));
    let problem = verifier.authenticate(&Key::new(1).token()).await;
    assert_eq!(problem.unwrap_err().status, 503);
    assert_eq!(source.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_is_waited_for_within_bounds() {
    let (verifier, source) = verifier();
    let key = Key::new(1);
    verifier.add_key(&Key::new(2).jwk).unwrap();
    source.answers(Answer::Late(vec![key.jwk.clone()]));
    let began = Instant::now();
    assert!(verifier.authenticate(&key.token()).await.is_err());
    assert_eq!(began.elapsed(), PATIENCE);
    // It comes after all, within its time: for the next request.
    source.go.notify_one();
    assert!(verifier.authenticate(&key.token()).await.is_ok());
    assert_eq!(source.fetches(), 1);

    // One that never answers, and one that panics, are asked again.
    let unknown = Key::new(3);
    for _ in 0..2 {
        sleep(PAUSE).await;
        assert!(verifier.authenticate(&unknown.token()).await.is_err());
        source.answers(Answer::Panic);
    }
    source.answers(Answer::Keys(vec![unknown.jwk.clone()]));
    sleep(PAUSE).await;
    assert!(verifier.authenticate(&unknown.token()).await.is_ok());
    assert_eq!(source.fetches(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_too_many_keys_is_none() {
    let (verifier, source) = verifier();
    source.answers(Answer::Keys((0..=64).map(|n| Key::new(n).jwk).collect()));
    assert!(verifier.authenticate(&Key::new(1).token()).await.is_err());
    assert!(!verifier.knows_keys());
}

#[tokio::test(start_paused = true)]
async fn known_keys_outlive_failures_for_a_day_and_told_ones_for_good() {
    let (verifier, source) = verifier();
    let (fetched, told) = (Key::new(1), Key::new(2));
    let following = {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move { verifier.follow_key_source().await })
    };
    // The publisher is still starting: asked for as often as may be.
    sleep(PAUSE / 2).await;
    assert_eq!(source.fetches(), 1);
    source.answers(Answer::Keys(vec![fetched.jwk.clone(), told.jwk.clone()]));
    sleep(PAUSE).await;
    assert_eq!(source.fetches(), 2);
    assert!(verifier.verify(&fetched.token()).is_ok());
    verifier.add_key(&told.jwk).unwrap();

    sleep(REFRESH * 2).await;
    assert_eq!(source.fetches(), 4);
    source.answers(Answer::Failure);
    sleep(KEEP - REFRESH).await;
    assert!(verifier.verify(&fetched.token()).is_ok());
    sleep(REFRESH * 3).await;
    // A token that was found good before is remembered; a new one is not.
    assert!(verifier.verify(&fetched.token()).is_err());
    assert!(verifier.verify(&told.token()).is_ok());
    following.abort();
}

#[tokio::test]
async fn a_retired_key_does_not_come_back_with_an_old_answer() {
    let (verifier, _) = verifier();
    let (kept, gone) = (Key::new(1), Key::new(2));
    verifier.add_key(&kept.jwk).unwrap();
    verifier.add_key(&gone.jwk).unwrap();
    verifier.set_caught_up();
    verifier.remove_key("key-2");
    let old = JwkSet {
        keys: vec![kept.jwk.clone(), gone.jwk.clone()],
    };
    verifier.add_fetched(&old, Instant::now() + KEEP);
    assert!(verifier.verify(&kept.token()).is_ok());
    assert!(verifier.verify(&gone.token()).is_err());
}

#[test]
fn why_a_token_of_our_own_is_refused_is_told_once_a_minute() {
    use tracing_subscriber::prelude::*;

    let clock = Arc::new(TestClock::default());
    let world = World {
        clock: clock.clone(),
        random: Arc::new(SeededRandom::new(1)),
    };
    let key = Key::new(1);
    let elsewhere = Verifier::new("https://other.test", "banyan", world.clone());
    let behind = Verifier::new("https://issuer.test", "banyan", world);
    for verifier in [&elsewhere, &behind] {
        verifier.set_caught_up();
        verifier.add_key(&key.jwk).unwrap();
    }

    let buffer = Arc::new(LogBuffer::new(100));
    let layer = LogLayer::new(Arc::clone(&buffer), None);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let forged = format!("{}x", key.token());
        assert!(elsewhere.verify(&forged).is_err());
        assert!(elsewhere.verify(&Key::new(2).token()).is_err());
        assert!(buffer.is_empty(), "strangers write nothing into the log");

        for _ in 0..3 {
            assert!(elsewhere.verify(&key.token()).is_err());
        }
        clock.advance(-time::Duration::minutes(5));
        for _ in 0..3 {
            assert!(behind.verify(&key.token()).is_err());
        }
    });
    let why = buffer
        .take(100)
        .into_iter()
        .map(|r| r.fields["why"].to_string());
    let why: Vec<String> = why.collect();
    assert_eq!(why.len(), 2, "{why:?}");
    assert!(why[0].contains("server.public_url"), "{why:?}");
    assert!(why[1].contains("clocks"), "{why:?}");
}
