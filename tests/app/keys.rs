//! Keys that reach a process over HTTP, and not by the bus.

use crate::support::TestApp;

const NOTIFICATIONS: &str = "/api/v1/notifications";

#[tokio::test]
async fn a_process_that_was_told_of_no_key_fetches_it() {
    let identity = TestApp::start().await;
    let ada = identity.sign_up("ada@example.com").await;
    // Another installation by its database, so that it hears nothing of the first, which issues the
    // tokens that it takes.
    let jwks_url = format!("{}/.well-known/jwks.json", identity.url);
    let other = TestApp::with(&[("BANYAN__SERVICE__JWKS_URL", &jwks_url)]).await;
    let requests = (0..8).map(|_| other.get(NOTIFICATIONS, &ada.access_token));
    for answer in futures::future::join_all(requests).await {
        answer.expect(200);
    }
    // It has looked just now, and does not look again for what nobody published.
    let stranger = TestApp::start().await;
    let bob = stranger.sign_up("bob@example.com").await;
    other
        .get(NOTIFICATIONS, &bob.access_token)
        .await
        .problem(401, "invalid-token");
    // Without a place to look, it stays with what it was told of.
    let deaf = TestApp::start().await;
    deaf.get(NOTIFICATIONS, &ada.access_token)
        .await
        .problem(401, "invalid-token");
}

#[tokio::test]
async fn keys_are_fetched_at_the_start_already() {
    let identity = TestApp::start().await;
    let ada = identity.sign_up("ada@example.com").await;
    let jwks_url = format!("{}/.well-known/jwks.json", identity.url);
    let other = TestApp::with(&[("BANYAN__SERVICE__JWKS_URL", &jwks_url)]).await;
    let verifier = &other.edge().verifier;
    assert!(verifier.verify(&ada.access_token).is_err());
    let following = {
        let verifier = std::sync::Arc::clone(verifier);
        tokio::spawn(async move { verifier.follow_key_source().await })
    };
    let known = async {
        while verifier.verify(&ada.access_token).is_err() {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(10);
    let known = tokio::time::timeout(patience, known).await;
    following.abort();
    known.expect("the keys come at once");
}
