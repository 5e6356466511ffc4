use super::*;

/// In production, with what it asks for.
fn load(variables: &[(&str, &str)]) -> anyhow::Result<Config> {
    let needed = [
        ("BANYAN__SERVER__PUBLIC_URL", "https://api.example.com"),
        ("BANYAN__NOTIFICATION__MAILER", "none"),
    ];
    let variables = needed
        .iter()
        .chain(variables)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let sources = Sources {
        variables,
        ..Sources::default()
    };
    Config::load(crate::modules::MODULES, &sources)
}

#[test]
fn variables_win_over_defaults_and_take_their_type() {
    let config = load(&[
        ("BANYAN__SERVER__LISTEN", "127.0.0.1:9999"),
        ("BANYAN__SERVER__MAX_BODY_BYTES", "2048"),
        ("BANYAN__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1/128"),
    ])
    .unwrap();
    assert_eq!(config.host.server.listen.port(), 9999);
    assert_eq!(config.host.server.max_body_bytes, 2_048);
    assert!(config.host.server.trusted_proxies[0].contains("10.1.2.3".parse().unwrap()));
    assert!(!config.host.server.trusted_proxies[0].contains("11.1.2.3".parse().unwrap()));
    assert!(config.host.server.trusted_proxies[1].contains("::1".parse().unwrap()));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    for (key, named) in [
        ("BANYAN__SERVER__LISTN", "listn"),
        ("BANYAN__SERVR__LISTEN", "servr"),
        ("BANYAN_SERVER__LISTEN", "BANYAN_SERVER__LISTEN"),
        ("BANYAN__SERVER__MAX_CONNECTIONS", "max_connections"),
        ("BANYAN__SERVER__MAX_BODY_BYTES", "max_body_bytes"),
    ] {
        let error = format!("{:#}", load(&[(key, "x")]).unwrap_err());
        assert!(error.contains(named), "{key}: {error}");
    }
}

#[test]
fn secrets_are_shown_as_fingerprints() {
    let secret = "0123456789012345678901234567890123456789";
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let config = load(&[
        ("BANYAN__DATABASE__ROLE_SECRET", secret),
        ("BANYAN__SECRETS__MASTER_KEY", key),
        ("BANYAN__DATABASE__URL", "postgres://me:hunter2@db/banyan"),
    ])
    .unwrap();
    let shown = config.show();
    assert!(
        !shown.contains(secret) && !shown.contains(key) && !shown.contains("hunter2"),
        "{shown}"
    );
    assert!(shown.contains("fingerprint:"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_service_has_id_and_secret_and_signs_in_below_the_public_url() {
    let load = |variables: &[(&str, &str)]| {
        let config = load(variables)?;
        anyhow::Ok((config.token_url().to_string(), config.show()))
    };
    let id = ("BANYAN__SERVICE__ID", "edge");
    let secret = ("BANYAN__SERVICE__SECRET", "hunter2");
    let (url, shown) = load(&[id, secret]).unwrap();
    assert_eq!(url, "https://api.example.com/oauth/token");
    assert!(!shown.contains("hunter2"));
    let own = ("BANYAN__SERVICE__TOKEN_URL", "http://identity:8080/token");
    assert_eq!(load(&[own]).unwrap().0, own.1);
    for (wrong, named) in [
        (id, "service.secret"),
        (secret, "service.id"),
        (("BANYAN__SERVICE__JWKS_URL", "/jwks"), "jwks_url"),
        (("BANYAN__SERVICE__JWKS_URL", "file:///jwks"), "jwks_url"),
        (("BANYAN__SERVICE__TOKEN_URL", "http://a:b@c/"), "token_url"),
    ] {
        let error = format!("{:#}", load(&[wrong]).unwrap_err());
        assert!(
            error.contains(named) && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn the_product_has_a_name_of_one_line() {
    let long = "x".repeat(61);
    for name in ["", " ", "a\nBcc: b", &long] {
        let error = load(&[("BANYAN__SERVER__PRODUCT_NAME", name)]).unwrap_err();
        assert!(error.to_string().contains("server.product_name"), "{error}");
    }
    assert!(load(&[("BANYAN__SERVER__PRODUCT_NAME", "Ben & Jerry")]).is_ok());
}

#[test]
fn a_database_of_ones_own_needs_its_secrets() {
    let error = load(&[("BANYAN__DATABASE__URL", "postgres://db/banyan")]).unwrap_err();
    assert!(error.to_string().contains("role_secret"));
}

#[test]
fn a_certificate_has_a_key_and_both_can_be_read() {
    let certificate = ("BANYAN__SERVER__TLS_CERT_FILE", "/nowhere/cert.pem");
    let key = ("BANYAN__SERVER__TLS_KEY_FILE", "/nowhere/key.pem");
    for (given, named) in [
        (&[certificate][..], "server.tls_key_file"),
        (&[key], "server.tls_cert_file"),
        (&[certificate, key], "server.tls_cert_file"),
    ] {
        let error = format!("{:#}", load(given).unwrap_err());
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn nats_without_credentials_is_for_trials() {
    let nats = ("BANYAN__BUS__TRANSPORT", "nats");
    let error = format!("{:#}", load(&[nats]).unwrap_err());
    assert!(error.contains("bus.nats needs credentials"), "{error}");
    let environment = ("BANYAN__ENVIRONMENT", "development");
    load(&[nats, environment]).unwrap();
    load(&[
        nats,
        ("BANYAN__BUS__NATS__TOKEN", "a secret of some length"),
    ])
    .unwrap();
}

#[test]
fn it_is_said_when_identity_cannot_be_asked() {
    let gateway = [
        ("BANYAN__ENVIRONMENT", "development"),
        ("BANYAN__BUS__TRANSPORT", "nats"),
        ("BANYAN__MODULES__IDENTITY__AT", "http://127.0.0.1:8081"),
    ];
    let internal = (
        "BANYAN__MODULES__IDENTITY__INTERNAL_AT",
        "http://127.0.0.1:9081",
    );
    let warnings = |variables: &[(&str, &str)]| {
        let sealing = (
            "BANYAN__SECRETS__SEALING_KEY",
            "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
        );
        let variables = [&gateway[..], &[sealing], variables].concat();
        load(&variables).unwrap().warnings()
    };
    let said = warnings(&[]);
    assert!(
        said.len() == 1 && said[0].contains("modules.identity.internal_at"),
        "{said:?}"
    );
    assert!(warnings(&[internal]).is_empty());
}
