//! TLS to the server, and certificates on both sides.

use async_nats::ConnectOptions;
use bus::transport::{
    Nats,
    nats::{Settings, Tls},
};

use crate::{
    authority::Authority,
    broker::{Broker, Eye, Over, live, settings},
    support::case::Case,
};

/// What it is told. A server that turns a certificate down may close before its alert is read, which
/// is as good as a server that is away: then it is asked again.
async fn refused(settings: Settings) -> String {
    for _ in 0..10 {
        if let Err(error) = Nats::connect(settings.clone()).await {
            return format!("{error:#}");
        }
    }
    panic!("it is connected, or goes on trying");
}

pub(crate) async fn certificates_on_both_sides(case: &Case<Over>) {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("127.0.0.1");
    let broker = Broker::start(&format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {:?}, verify: true }}",
        authority.certificate()
    ));
    let client = authority.issue("shop");
    let with = |ca_file, client| Settings {
        tls: Tls {
            required: true,
            ca_file,
            client,
        },
        ..settings(vec![broker.server.url().replace("nats://", "tls://")])
    };
    let known = || Some(authority.certificate());

    let stranger = Authority::new();
    for ca_file in [None, Some(stranger.certificate())] {
        let told = refused(with(ca_file, Some(client.clone()))).await;
        assert!(told.contains("invalid peer certificate"), "{told}");
    }
    let told = refused(with(Some(broker.path("none.pem")), None)).await;
    assert!(told.contains("none.pem"), "{told}");
    for nobody in [None, Some(stranger.issue("shop"))] {
        let told = refused(with(known(), nobody)).await;
        assert!(told.contains("received fatal alert"), "{told}");
    }

    let right = with(known(), Some(client.clone()));
    let looking = ConnectOptions::new()
        .add_root_certificates(authority.certificate())
        .add_client_certificate(client.0, client.1)
        .connect(&right.urls)
        .await
        .unwrap();
    live(case, &right, &Eye::of(looking)).await;
}

pub(crate) async fn a_server_without_it_is_refused_when_it_is_required(_: &Case<Over>) {
    let broker = Broker::start("");
    let tls = Tls {
        required: true,
        ..Tls::default()
    };
    let required = Settings {
        tls,
        ..settings(vec![broker.server.url()])
    };
    let told = refused(required).await;
    assert!(told.contains("TLS with NATS"), "{told}");
}
