//! What people tell of themselves: a name to be shown, a few words, links, language and time zone,
//! and what the product keeps of them beside.
//!
//! - **Owns** `profile.profiles`, one row per account, `profile.avatars`, their pictures, and unless configured
//!   otherwise `profile.blobs`, the bytes of those.
//! - **Publishes** `ProfileCreated`, `ProfileUpdated` and, on request, `ProfileRestated`
//!   ([`events`]).
//! - **Listens** to identity's `UserRegistered` and `UserRestated`: each account gets a profile.
//! - **Serves** `GET` and `PATCH /api/v1/profiles/me`, with entity tags: an edit states which
//!   version it is an edit of; and `GET /api/v1/profiles/{id}`, what its owner shows to others;
//!   `…/avatar` below both. Pages: `/account/profile` and `/people/{id}`.

mod blobs;
mod config;
mod domain;
mod edit;
mod http;
mod jobs;
mod pictures;
mod restate;
mod store;
mod subscribers;

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{
    Context, Db, EventType, Started,
    fragment::NavItem,
    module::{ConfigError, ConfigSection},
    routes::Api,
};
use sqlx::migrate::Migrator;
use url::Url;

pub use contracts::profile as events;

use crate::{
    blobs::BlobStore, config::Config, domain::Profile, pictures::Pictures, restate::RestateProfiles,
};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/profile");

/// The module `profile`.
pub struct Module;

/// What handlers are given.
#[derive(Clone)]
struct State {
    db: Db,
    config: Config,
    pictures: Arc<Pictures>,
    blobs: Arc<dyn BlobStore>,
    /// How people reach this installation.
    public_url: Url,
}

impl State {
    /// Whole, for pages of any origin. The version in it is a secret of the picture's own.
    fn avatar_url(&self, profile: &Profile) -> Option<String> {
        let base = self.public_url.as_str().trim_end_matches('/');
        Some(format!("{base}{}", self.avatar_path(profile)?))
    }

    /// For our own pages.
    fn avatar_path(&self, profile: &Profile) -> Option<String> {
        let version = profile.avatar?.version.simple();
        let user_id = profile.user_id;
        Some(format!("/api/v1/profiles/{user_id}/avatar?v={version}"))
    }
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
        &["/api/v1/profiles", "/account/profile", "/people"]
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

    fn events(&self) -> Vec<EventType> {
        events::events()
    }

    fn api(&self) -> Api {
        http::routes().describe()
    }

    async fn start(&self, context: Context) -> anyhow::Result<Started> {
        let config = Config::read(&context.config)?;
        let pictures = Pictures::new(config.avatar_max_pixels, config.avatar_concurrency);
        let state = State {
            blobs: blobs::open(&config, context.db.pool(), &context.data_dir)?,
            pictures: Arc::new(pictures),
            db: context.db,
            config,
            public_url: context.public_url,
        };
        Ok(Started {
            router: http::routes().into_router(state.clone(), context.verifier),
            subscriptions: subscribers::subscriptions(&context.world),
            jobs: vec![jobs::remove_unused_avatars(&state)],
            restate: Some(Arc::new(RestateProfiles { state })),
            ..Started::default()
        })
    }
}
