//! Who may come in, by each of the ways there are, and how the others are told.

use async_nats::ConnectOptions;
use bus::transport::{
    Nats,
    nats::{Credentials, Settings},
};
use kernel::Secret;
use nkeys::KeyPair;

use crate::{
    broker::{Broker, Eye, Over, live, settings},
    support::case::Case,
    tokens::Operator,
};

const RIGHT: &str = "a-right-word";
const WRONG: &str = "a-wrong-word";

pub(crate) async fn with_a_password(case: &Case<Over>) {
    let user = |password| Credentials::Password {
        user: "shop".to_owned(),
        password: Secret::new(password),
    };
    let broker = Broker::start(&format!(
        "authorization {{ users = [{{ user: shop, password: {RIGHT} }}] }}"
    ));
    let looking = ConnectOptions::new().user_and_password("shop".into(), RIGHT.into());
    assert_decides(case, &broker, user(RIGHT), user(WRONG), looking).await;
}

pub(crate) async fn with_a_token(case: &Case<Over>) {
    let token = |token| Credentials::Token(Secret::new(token));
    let broker = Broker::start(&format!("authorization {{ token: {RIGHT} }}"));
    let looking = ConnectOptions::new().token(RIGHT.into());
    assert_decides(case, &broker, token(RIGHT), token(WRONG), looking).await;
}

pub(crate) async fn with_an_nkey(case: &Case<Over>) {
    let (right, wrong) = (KeyPair::new_user(), KeyPair::new_user());
    let seed = |key: &KeyPair| Credentials::Nkey(Secret::new(key.seed().unwrap()));
    let broker = Broker::start(&format!(
        "authorization {{ users = [{{ nkey: {} }}] }}",
        right.public_key()
    ));
    let looking = ConnectOptions::new().nkey(right.seed().unwrap());
    assert_decides(case, &broker, seed(&right), seed(&wrong), looking).await;
}

pub(crate) async fn with_a_credentials_file(case: &Case<Over>) {
    let operator = Operator::new();
    let broker = Broker::start(&operator.configuration());
    let right = operator.credentials();
    // Of an operator that this server does not know.
    let wrong = Operator::new().credentials();
    let looking = ConnectOptions::with_credentials(&right).unwrap();
    let jwt = |text| Credentials::Jwt(Secret::new(text));
    assert_decides(case, &broker, jwt(right), jwt(wrong), looking).await;
}

/// The right ones come in and events flow; the wrong ones and nobody at all are told so at once.
async fn assert_decides(
    case: &Case<Over>,
    broker: &Broker,
    right: Credentials,
    wrong: Credentials,
    looking: ConnectOptions,
) {
    let url = broker.server.url();
    for credentials in [wrong, Credentials::None] {
        let settings = Settings {
            credentials,
            ..settings(vec![url.clone()])
        };
        let told = match Nats::connect(settings).await {
            Ok(_) => panic!("the server lets in whom it does not know"),
            Err(error) => format!("{error:#}"),
        };
        assert!(told.contains(&url), "{told}");
        assert!(told.contains("authorization violation"), "{told}");
        assert!(!told.contains(WRONG), "{told}");
    }
    let settings = Settings {
        credentials: right,
        ..settings(vec![url.clone()])
    };
    let looking = looking.connect(url).await.unwrap();
    live(case, &settings, &Eye::of(looking)).await;
}
