//! `/api/v1/notifications/preferences`: what the caller wants to be told, and where.

pub(crate) mod get_preferences;
pub(crate) mod patch_preferences;

use axum::http::{HeaderName, HeaderValue, header};
use kernel::{Json, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{Category, Channel, Preferences},
    store::preferences::Versioned,
};

/// What is on, by category and channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreferencesView {
    /// Codes, and what happens to the account. `email` is always on.
    security: ChannelsView,
    /// About the account: the welcome, for one.
    account: ChannelsView,
    /// What services have to say.
    product: ChannelsView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelsView {
    email: bool,
    in_app: bool,
}

impl PreferencesView {
    fn of(preferences: &Preferences) -> Self {
        let channels = |category: Category| ChannelsView {
            email: preferences.allow(category, Channel::Email),
            in_app: preferences.allow(category, Channel::InApp),
        };
        Self {
            security: channels(Category::Security),
            account: channels(Category::Account),
            product: channels(Category::Product),
        }
    }
}

type Reply = ([(HeaderName, HeaderValue); 3], Json<PreferencesView>);

fn reply(user_id: UserId, versioned: &Versioned) -> Reply {
    let headers = [
        (header::ETAG, etag(user_id, versioned.version)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ),
        (
            header::VARY,
            HeaderValue::from_static("authorization, cookie"),
        ),
    ];
    (headers, Json(PreferencesView::of(&versioned.preferences)))
}

/// The account is part of it: the same path is another's to another caller.
pub(super) fn etag(user_id: UserId, version: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}.{version}\"", user_id.0.simple()))
        .expect("hex digits and quotes")
}
