//! The routes of the module.

mod etag;
mod get_me;
mod get_profile;
mod patch_me;
mod view;

use kernel::{Access, Routes};
use utoipa_axum::routes;

use crate::State;

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .route(
            Access::Authenticated,
            routes!(get_me::get_me, patch_me::patch_me),
        )
        .route(Access::Authenticated, routes!(get_profile::get_profile))
}
