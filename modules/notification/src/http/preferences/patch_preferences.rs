//! `PATCH /api/v1/notifications/preferences`.

use axum::{
    extract::State as Shared,
    http::{HeaderMap, header},
};
use kernel::{
    FieldError, Json, Problem, UserId,
    etag::{Condition, precondition_failed, precondition_required},
    principal::CurrentUser,
};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{PreferencesView, Reply, etag, reply};
use crate::{
    State,
    domain::{Category, Channel, Preferences},
    store::{self, preferences::Versioned},
};

/// A JSON Merge Patch (RFC 7396): what is absent stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchPreferencesRequest {
    #[serde(default)]
    pub(in crate::http) security: ChannelsPatch,
    #[serde(default)]
    pub(in crate::http) account: ChannelsPatch,
    #[serde(default)]
    pub(in crate::http) product: ChannelsPatch,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelsPatch {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool, required = false)]
    pub(in crate::http) email: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool, required = false)]
    pub(in crate::http) in_app: Option<bool>,
}

/// null is no switch's position.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<bool>, D::Error> {
    bool::deserialize(input).map(Some)
}

impl PatchPreferencesRequest {
    fn switches(&self) -> impl Iterator<Item = (Category, Channel, bool)> {
        let categories = [
            (Category::Security, &self.security),
            (Category::Account, &self.account),
            (Category::Product, &self.product),
        ];
        categories.into_iter().flat_map(|(category, channels)| {
            let email = channels.email.map(|on| (category, Channel::Email, on));
            let in_app = channels.in_app.map(|on| (category, Channel::InApp, on));
            email.into_iter().chain(in_app)
        })
    }

    /// Everything that must stay on and is asked to go off.
    fn errors(&self) -> Vec<FieldError> {
        self.switches()
            .filter(|(category, channel, on)| !on && category.is_required(*channel))
            .map(|(category, channel, _)| {
                let field = format!("/{}/{}", category.as_str(), channel.as_str());
                FieldError::new(field, "cannot be switched off")
            })
            .collect()
    }

    fn apply(&self, mut preferences: Preferences) -> Preferences {
        for (category, channel, on) in self.switches() {
            preferences.set(category, channel, on);
        }
        preferences
    }
}

/// Switches on and off what the caller is told.
#[utoipa::path(
    patch,
    path = "/api/v1/notifications/preferences",
    operation_id = "patch_notification_preferences",
    params(
        ("If-Match" = String, Header, description = "The `ETag` of the preferences that are edited.")
    ),
    request_body(content(
        (PatchPreferencesRequest = "application/merge-patch+json"),
        (PatchPreferencesRequest = "application/json"),
    )),
    responses(
        (status = 200, description = "The preferences as they are now", body = PreferencesView,
            headers(("ETag" = String, description = "To be sent back as `If-Match` with the next \
                edit."))),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 401, description = "Nobody is signed in", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 412, description = "`precondition-failed`: they have changed meanwhile",
            body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is of another media type", body = Problem),
        (status = 422, description = "Fields are unknown, or cannot be switched off",
            body = Problem),
        (status = 428, description = "`precondition-required`: `If-Match` is missing",
            body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
#[tracing::instrument(name = "notification.patch_preferences", skip_all,
    fields(user.id = %user.id))]
pub(crate) async fn patch_preferences(
    Shared(state): Shared<State>,
    user: CurrentUser,
    headers: HeaderMap,
    Json(request): Json<PatchPreferencesRequest>,
) -> Result<Reply, Problem> {
    let condition =
        Condition::strong(&headers, header::IF_MATCH).ok_or_else(precondition_required)?;
    let now = patch(&state, user.id, &condition, &request).await?;
    Ok(reply(user.id, &now))
}

/// Edits preferences, if they are still those that the condition names.
pub(in crate::http) async fn patch(
    state: &State,
    user_id: UserId,
    condition: &Condition,
    request: &PatchPreferencesRequest,
) -> Result<Versioned, Problem> {
    let errors = request.errors();
    if !errors.is_empty() {
        return Err(Problem::validation(errors));
    }

    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    let old = store::preferences::lock(&mut tx, user_id, now).await?;
    if !condition.holds(&etag(user_id, old.version)) {
        return Err(precondition_failed());
    }
    let preferences = request.apply(old.preferences.clone());
    let new = if preferences == old.preferences {
        old
    } else {
        let new = Versioned {
            preferences,
            version: old.version + 1,
        };
        store::preferences::update(&mut tx, user_id, &new, now).await?;
        new
    };
    tx.commit().await?;
    Ok(new)
}
