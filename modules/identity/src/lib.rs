//! Accounts, sign-in, sessions, and the keys that access tokens are signed with.
//!
//! - **Owns** `identity.users`, one row per account, whose address was proven first;
//!   `identity.registrations` that wait for their code; `identity.codes`, mailed to sign in or to set a
//!   new password; `identity.sessions`, each a family of refresh tokens; `identity.failures`, by which
//!   guesses get slower; `identity.familiar_clients`, from where an account was used;
//!   `identity.services`, programs that sign in with a secret; `identity.signing_keys`;
//!   `identity.setup_codes`, for the first administrator.
//! - **Publishes** ([`events`]) what has to be mailed (`VerificationRequested`,
//!   `RegistrationAttempted`, `CodeRequested`), `UserRegistered`, `RoleGranted`, `RoleRevoked`,
//!   `PasswordChanged`, `UserSuspended`, `UserReinstated`, `SessionStarted`, `SessionEnded`, `LoginFailed`, `ServiceRegistered`, `ServiceSecretRotated`,
//!   `ServiceDisabled`, `SigningKeyPublished`, `SigningKeyRetired` and, on request, `UserRestated`.
//! - **Listens** to nobody.
//! - **Serves** under `/api/v1/auth`: `registrations`, `registrations/{id}/verify` and `…/resend`,
//!   `login`, `login/code` and `…/verify`, `refresh`, `logout`, `me`, `sessions`, `password/forgot`,
//!   `…/reset` and `…/change`; `/oauth/token` for services; `/api/v1/users` for administrators; the
//!   key set at `/.well-known/jwks.json`; the pages of sign-up, sign-in, account and `/setup`. On the command line: `banyan user create-admin` and
//!   `list`, `banyan service create`, `list`, `rotate` and `disable`.
//!
//! Whether an address has an account is told to nobody who has not proven it: registering, asking for
//! a code and signing in with a wrong password answer and take time alike either way.

mod accounts;
mod administration;
mod codes;
mod config;
mod domain;
mod guesses;
mod http;
mod jobs;
mod passwords;
mod restate;
mod services;
mod sessions;
mod setup;
mod sign_in;
mod signing;
mod store;
mod verbs;

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{
    Context, Db, EventType, Sealer, Secrets, Started, Verb,
    fragment::NavItem,
    module::{ConfigError, ConfigSection},
    routes::Api,
    secret::Key,
};
use sqlx::migrate::Migrator;
use url::Url;

pub use contracts::identity as events;

use crate::{config::Config, passwords::Passwords, restate::RestateUsers, signing::Signer};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/identity");

/// The module `identity`.
pub struct Module;

/// What handlers are given.
struct State {
    db: Db,
    config: Config,
    passwords: Passwords,
    signer: Signer,
    keys: Keys,
    sealer: Sealer,
    public_url: Url,
}

/// The module's own keys, each for one purpose.
struct Keys {
    /// Encrypts the private parts of signing keys.
    signing_keys: Key,
    /// Digests the codes that prove an address.
    verification_codes: Key,
    /// Derives refresh tokens.
    refresh_tokens: Key,
    /// Digests what guesses are counted by.
    guesses: Key,
    /// Digests devices and networks.
    familiar_clients: Key,
    /// Digests the code that lets the first administrator be made.
    setup_codes: Key,
}

impl Keys {
    fn derive(secrets: &Secrets) -> Self {
        Self {
            signing_keys: secrets.key("signing-keys"),
            verification_codes: secrets.key("verification-codes"),
            refresh_tokens: secrets.key("refresh-tokens"),
            guesses: secrets.key("guesses"),
            familiar_clients: secrets.key("familiar-clients"),
            setup_codes: secrets.key("setup-codes"),
        }
    }
}

#[async_trait]
impl kernel::Module for Module {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn summary(&self) -> &'static str {
        "Accounts, sign-in, sessions, and the keys that access tokens are signed with."
    }

    fn prefixes(&self) -> &'static [&'static str] {
        &[
            "/api/v1/auth",
            "/api/v1/users",
            "/oauth",
            "/.well-known/jwks.json",
            "/setup",
            "/sign-in",
            "/sign-out",
            "/sign-up",
            "/password",
            "/account",
            "/admin/users",
        ]
    }

    fn navigation(&self) -> &'static [NavItem] {
        http::pages::NAVIGATION
    }

    fn migrations(&self) -> &'static Migrator {
        &MIGRATOR
    }

    fn default_config(&self) -> &'static str {
        include_str!("../config.toml")
    }

    fn check_config(&self, section: &ConfigSection, _development: bool) -> Result<(), ConfigError> {
        Config::read(section).map(|_| ())
    }

    fn seals(&self) -> bool {
        true
    }

    fn events(&self) -> Vec<EventType> {
        events::events()
    }

    fn api(&self) -> Api {
        http::routes().describe()
    }

    fn verbs(&self) -> Vec<Verb> {
        verbs::verbs()
    }

    async fn start(&self, context: Context) -> anyhow::Result<Started> {
        let config = Config::read(&context.config)?;
        let db = context.db;
        let keys = Keys::derive(&context.secrets);

        // Nobody can sign in without a key: the first is made here, and a job makes the others.
        signing::rotate(&db, &keys.signing_keys, &config).await?;
        let signer = Signer::load(
            db.clone(),
            keys.signing_keys.clone(),
            context.verifier.issuer(),
            context.verifier.audience(),
            config.access_token_ttl,
        )
        .await?;
        // So that this process verifies at once what it signs.
        context
            .verifier
            .add_keys(&signer.keys().await?.published())?;

        let mut notices = Vec::new();
        if context.serving {
            let offer = setup::offer(&db, &keys.setup_codes, &config, &context.public_url);
            notices.extend(offer.await?);
        }
        let jobs = jobs::jobs(&db, &keys.signing_keys, &config);
        let passwords = Passwords::new(
            context.world,
            config.hash_cost,
            config.hash_threads,
            config.hash_queue,
        );
        let state = Arc::new(State {
            db: db.clone(),
            config,
            passwords,
            signer,
            keys,
            sealer: context.secrets.sealer().clone(),
            public_url: context.public_url,
        });
        Ok(Started {
            internal: http::internal::router(Arc::clone(&state)),
            router: http::routes().into_router(state, context.verifier),
            jobs,
            restate: Some(Arc::new(RestateUsers { db })),
            notices,
            ..Started::default()
        })
    }
}
