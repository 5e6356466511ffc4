//! Telling people what happened: mails, and notifications in the app.
//!
//! - **Owns** `notification.deliveries` and `attempts` (mails on their way and what became
//!   of them),
//!   `notification.notifications` (what is shown in the app), the read models
//!   `notification.recipient_accounts` and `notification.recipient_profiles`,
//!   `notification.preferences` (what people do not want to be told), `notification.sends` (what
//!   services had told), `notification.idempotency_keys`, `notification.suppressions` (addresses that take no mail), and, in development,
//!   `notification.mailbox`.
//! - **Publishes** `MessageSent`, `MessageFailed`, `SendRequested`, and what administrators did:
//!   `DeliveryRetried`, `DeliveryGivenUp`, `SuppressionLifted` ([`events`]).
//! - **Listens** to identity (`VerificationRequested`, `CodeRequested`, `RegistrationAttempted`,
//!   `PasswordChanged`, `SessionStarted`, `UserRegistered`, `UserRestated`) and to profile (`ProfileCreated`, `ProfileUpdated`, `ProfileRestated`).
//! - **Serves** `/api/v1/notifications` (the list, marking as read, a live stream, preferences,
//!   sending for services, and deliveries, suppressions and previews for administrators),
//!   the pages `/account/notifications` and `/admin/mails`, `/notifications/unsubscribe` and, in development, the mailbox page at `/dev/mailbox`.
//!
//! A mail is a row before it is anything else: subscribers write it with the effects of their
//! event, the worker `deliver` claims it by a lease, renders it, hands it over with no transaction
//! open, and writes down what came of it.

mod config;
mod domain;
mod http;
mod jobs;
mod live;
mod mail;
mod outbound;
mod store;
mod subscribers;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use kernel::{
    Context, Db, EventType, Sealer, Started, Verifier, Worker,
    fragment::NavItem,
    module::{ConfigError, ConfigSection},
    routes::Api,
};
use sqlx::migrate::Migrator;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use contracts::notification as events;

use crate::{
    config::{Config, MailerKind},
    domain::{MailAddress, Unsubscriber},
    jobs::{Deliver, Sender},
    live::Hub,
    mail::Frame,
    outbound::Outbound,
};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/notification");

/// The module `notification`.
pub struct Module;

/// What handlers are given.
#[derive(Clone)]
struct State {
    db: Db,
    config: Arc<Config>,
    frame: Arc<Frame>,
    hub: Arc<Hub>,
    verifier: Arc<Verifier>,
    unsubscriber: Unsubscriber,
    outbound: Outbound,
    sealer: Sealer,
    shutdown: CancellationToken,
    /// Mails stay here, for `/dev/mailbox` to show.
    has_mailbox: bool,
}

#[async_trait]
impl kernel::Module for Module {
    fn name(&self) -> &'static str {
        "notification"
    }

    fn summary(&self) -> &'static str {
        "Mails and in-app notifications, and what became of them."
    }

    fn prefixes(&self) -> &'static [&'static str] {
        &[
            "/api/v1/notifications",
            "/dev/mailbox",
            "/notifications",
            "/account/notifications",
            "/admin/mails",
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

    fn check_config(&self, section: &ConfigSection, development: bool) -> Result<(), ConfigError> {
        Config::read(section)?.mailer_kind(development, section)?;
        Ok(())
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

    async fn start(&self, context: Context) -> anyhow::Result<Started> {
        let config = Arc::new(Config::read(&context.config)?);
        let kind = config.mailer_kind(context.development, &context.config)?;
        let mailer = mail::mailer(&config, &context)?;
        let (db, world) = (context.db.clone(), context.world.clone());
        let frame = Frame {
            product: context.product_name.to_string(),
            public_url: context.public_url.clone(),
        };

        let unsubscriber = Unsubscriber::new(context.secrets.key("unsubscribe"));
        let hub = Arc::new(Hub::new(config.streams_per_user, config.streams_total));
        tokio::spawn(Arc::clone(&hub).follow(db.bus().hints(), context.shutdown.clone()));

        let wake = Arc::new(Notify::new());
        let outbound = Outbound {
            db: db.clone(),
            wake: Arc::clone(&wake),
            domain: message_id_domain(&config, &context),
            lifetime: config.message_lifetime(),
        };
        let sender = Sender {
            mailer,
            world,
            sealer: context.secrets.sealer().clone(),
            frame: frame.clone(),
            unsubscriber: unsubscriber.clone(),
            backoff: config.backoff(),
            deadline: config.send_deadline(),
        };
        let deliver = Deliver {
            db: db.clone(),
            sender: Arc::new(sender),
            concurrency: usize::try_from(config.send_concurrency)?,
            lease: config.lease(),
            suppress_for: config.suppression(),
            wake: Arc::clone(&wake),
            shutdown: context.shutdown.clone(),
        };

        let has_mailbox = kind == MailerKind::Mailbox;
        let notices = match kind {
            MailerKind::Mailbox => {
                let url = context.public_url.join("dev/mailbox")?;
                vec![format!("mails are not sent but shown at {url}")]
            }
            MailerKind::None => vec!["mail is switched off: codes reach nobody".to_owned()],
            MailerKind::Smtp => Vec::new(),
        };
        let subscriptions = subscribers::subscriptions(&config, &outbound);
        let jobs = jobs::jobs(&db, &config);
        let state = State {
            db,
            config,
            frame: Arc::new(frame),
            hub,
            verifier: Arc::clone(&context.verifier),
            unsubscriber,
            outbound,
            sealer: context.secrets.sealer().clone(),
            shutdown: context.shutdown,
            has_mailbox,
        };
        Ok(Started {
            router: http::routes().into_router(state, context.verifier),
            subscriptions,
            jobs,
            workers: vec![Worker {
                name: "deliver",
                poll: Duration::from_secs(1),
                wake,
                run: Arc::new(deliver),
            }],
            notices,
            ..Started::default()
        })
    }
}

/// Where mails come from, or else where the installation is.
fn message_id_domain(config: &Config, context: &Context) -> String {
    MailAddress::parse(&config.from_address)
        .map(|address| address.domain().to_owned())
        .or_else(|| context.public_url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "localhost".to_owned())
}
