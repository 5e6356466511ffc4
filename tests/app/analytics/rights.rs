//! What the users of the broker may not do.

use async_nats::{ConnectOptions, Event};
use futures::StreamExt;
use nats_server::users::password;
use serde_json::Value;
use tokio::sync::mpsc;

use super::installation::{Installation, PATIENCE, until};

pub async fn nobody_may_more_than_it_needs(it: &Installation) {
    let refused_to_publish = [
        ("analytics", "banyan.evt.identity.user.registered.v1"),
        ("analytics", "banyan.log.identity"),
        ("analytics", "banyan.log.notification"),
        ("analytics", "$JS.API.STREAM.MSG.GET.banyan_identity"),
        ("analytics", "$JS.API.STREAM.INFO.banyan_notification"),
        (
            "analytics",
            "$JS.API.CONSUMER.CREATE.banyan_identity.analytics",
        ),
        (
            "analytics",
            "$JS.API.CONSUMER.MSG.NEXT.banyan_notification.logging-audit_notification",
        ),
        ("profile", "banyan.evt.identity.user.registered.v1"),
        ("profile", "banyan.log.notification"),
        ("profile", "banyan.log.identity.notification"),
        ("gateway", "banyan.log.identity.profile"),
        ("profile", "$JS.API.STREAM.DELETE.banyan_identity"),
        (
            "profile",
            "$JS.API.CONSUMER.DELETE.banyan_identity.logging-audit_identity",
        ),
        ("gateway", "banyan.evt.identity.signing_key.published.v1"),
        ("gateway", "$JS.API.STREAM.INFO.banyan_profile"),
        ("operator", "banyan.evt.identity.user.registered.v1"),
        ("operator", "banyan.log.identity"),
    ];
    for (user, subject) in refused_to_publish {
        let (client, mut told) = sign_in(it, user).await;
        client.publish(subject, "{}".into()).await.unwrap();
        assert_refused(&mut told, user, subject).await;
    }
    let refused_to_listen = [
        ("analytics", "banyan.>"),
        ("analytics", "_INBOX.>"),
        ("analytics", "_INBOX_identity.>"),
        ("profile", "banyan.evt.identity.>"),
        ("profile", "banyan.log.identity"),
        ("profile", "_INBOX_identity.>"),
        ("gateway", "banyan.log.identity"),
    ];
    for (user, subject) in refused_to_listen {
        let (client, mut told) = sign_in(it, user).await;
        let _subscription = client.subscribe(subject).await.unwrap();
        assert_refused(&mut told, user, subject).await;
    }
    let attempts = refused_to_publish.len() + refused_to_listen.len();
    assert_eq!(it.violations().len(), attempts);
}

/// An answer goes wherever the question says, whatever the asker may publish: but not out of its account.
pub async fn answers_stay_in_their_account(it: &Installation) {
    let (operator, _) = sign_in(it, "operator").await;
    let jetstream = async_nats::jetstream::new(operator);
    let profiles = async || {
        let stream = jetstream.get_stream("banyan_profile").await.unwrap();
        stream.cached_info().state.messages
    };
    let before = profiles().await;
    it.sign_up("carol@example.com").await;
    until("her profile", async || profiles().await == before + 1).await;

    let (analytics, _) = sign_in(it, "analytics").await;
    let next = "$JS.API.CONSUMER.MSG.NEXT.banyan_identity.analytics";
    let reply = "banyan.evt.profile.profile.created.v1";
    analytics
        .publish_with_reply(next, reply, "1".into())
        .await
        .unwrap();
    // The server takes one after the other: the first question brought her event nowhere.
    let inbox = analytics.new_inbox();
    let mut brought = analytics.subscribe(inbox.clone()).await.unwrap();
    analytics
        .publish_with_reply(next, inbox, "1".into())
        .await
        .unwrap();
    let brought = tokio::time::timeout(PATIENCE, brought.next()).await;
    let brought = brought.expect("in time").expect("a message");
    let event: Value = serde_json::from_slice(&brought.payload).unwrap();
    assert_eq!(event["source"], "identity");
    assert_eq!(profiles().await, before + 1);
}

async fn sign_in(
    it: &Installation,
    user: &str,
) -> (async_nats::Client, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let client = ConnectOptions::new()
        .user_and_password(user.to_owned(), password(user))
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = tell.send(error.to_string());
            }
            async {}
        })
        .connect(it.split.nats.url())
        .await
        .unwrap();
    (client, told)
}

async fn assert_refused(told: &mut mpsc::UnboundedReceiver<String>, user: &str, subject: &str) {
    let why = tokio::time::timeout(PATIENCE, told.recv()).await;
    let why = why.unwrap_or_else(|_| panic!("{user} may do what it should not: {subject}"));
    let why = why.expect("the connection stays");
    assert!(
        why.to_lowercase().contains("permissions violation") && why.contains(subject),
        "{user}: {why}"
    );
}
