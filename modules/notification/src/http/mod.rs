//! The routes of the module.

mod list_notifications;
mod mailbox;
mod mailbox_html;
mod mailbox_messages;
mod mailbox_page;
mod operations;
pub(crate) mod pages;
mod preferences;
mod read_notification;
mod sandbox;
mod send;
mod stream_notifications;
mod templates;
mod unsubscribe;
mod view;

use kernel::{Access, Routes};
use utoipa_axum::routes;

use crate::State;

pub(crate) fn routes() -> Routes<State> {
    let routes = Routes::new()
        .route(
            Access::Authenticated,
            routes!(list_notifications::list_notifications),
        )
        .route(
            Access::Authenticated,
            routes!(stream_notifications::stream_notifications),
        )
        .route(
            Access::Authenticated,
            routes!(read_notification::read_notification),
        )
        .route(
            Access::Authenticated,
            routes!(
                preferences::get_preferences::get_preferences,
                preferences::patch_preferences::patch_preferences
            ),
        )
        .route(Access::Scope(send::SCOPE), routes!(send::submit::send))
        .route(
            Access::Scope(send::SCOPE),
            routes!(send::get_send::get_send),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(operations::list_deliveries::list_deliveries),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(operations::count_deliveries::count_deliveries),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(operations::get_delivery::get_delivery),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(operations::retry_delivery::retry_delivery),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(operations::give_up_delivery::give_up_delivery),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(operations::list_suppressions::list_suppressions),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(operations::lift_suppression::lift_suppression),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(templates::list_templates::list_templates),
        )
        .route(
            Access::Role(operations::ROLE),
            routes!(templates::preview_template::preview_template),
        )
        // By the token in the link alone.
        .route(
            Access::Public,
            routes!(
                unsubscribe::form::unsubscribe_form,
                unsubscribe::submit::unsubscribe
            ),
        );
    // There is nothing there but in development, where nobody can sign in before they have read
    // the code that is in it.
    pages::add(routes)
        .route(Access::Public, routes!(mailbox_page::mailbox_page))
        .route(Access::Public, routes!(mailbox_messages::mailbox_messages))
        .route(Access::Public, routes!(mailbox_html::mailbox_html))
}
