//! What people tell of themselves: a name to be shown, a few words, links, language and time zone,
//! and what the product keeps of them beside.
//!
//! - **Owns** `profile.profiles`, one row per account.
//! - **Publishes** `ProfileCreated`, `ProfileUpdated` and, on request, `ProfileRestated`
//!   ([`events`]).
//! - **Listens** to identity's `UserRegistered` and `UserRestated`: each account gets a profile.
//! - **Serves** `GET` and `PATCH /api/v1/profiles/me`, with entity tags: an edit states which
//!   version it is an edit of; and `GET /api/v1/profiles/{id}`, what its owner shows to others.

mod config;
mod domain;
mod edit;
mod http;
mod restate;
mod store;
mod subscribers;

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{
    Context, Db, EventType, Started,
    module::{ConfigError, ConfigSection},
    routes::Api,
};
use sqlx::migrate::Migrator;

pub use contracts::profile as events;

use crate::{config::Config, restate::RestateProfiles};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/profile");

/// The module `profile`.
pub struct Module;

/// What handlers are given.
#[derive(Clone)]
struct State {
    db: Db,
    config: Config,
}

#[async_trait]
impl kernel::Module for Module {
    fn name(&self) -> &'static str {
        "profile"
    }

    fn summary(&self) -> &'static str {
        "What people tell of themselves: name, words, links, language and time zone."
    }

    fn prefixes(&self) -> &'static [&'static str] {
        &["/api/v1/profiles"]
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

    fn events(&self) -> Vec<EventType> {
        events::events()
    }

    fn api(&self) -> Api {
        http::routes().describe()
    }

    async fn start(&self, context: Context) -> anyhow::Result<Started> {
        let config = Config::read(&context.config)?;
        let db = context.db;
        let state = State {
            db: db.clone(),
            config,
        };
        Ok(Started {
            router: http::routes().into_router(state, context.verifier),
            subscriptions: subscribers::subscriptions(&context.world),
            restate: Some(Arc::new(RestateProfiles { db })),
            ..Started::default()
        })
    }
}
