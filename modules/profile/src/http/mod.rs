//! The routes of the module.

mod delete_avatar;
mod etag;
mod get_avatar;
mod get_me;
mod get_profile;
pub(crate) mod pages;
mod patch_me;
mod put_avatar;
mod view;

use kernel::{Access, Routes};
use utoipa_axum::routes;

use crate::State;

pub(crate) fn routes() -> Routes<State> {
    let routes = Routes::new()
        .route(
            Access::Authenticated,
            routes!(get_me::get_me, patch_me::patch_me),
        )
        .route(
            Access::Authenticated,
            routes!(put_avatar::put_avatar, delete_avatar::delete_avatar),
        )
        .route(Access::Authenticated, routes!(get_profile::get_profile))
        // Whoever knows the address: it holds a secret of the picture's own.
        .route(Access::Public, routes!(get_avatar::get_avatar));
    pages::add(routes)
}
