//! The routes of the module.

mod list_notifications;
mod mailbox;
mod mailbox_html;
mod mailbox_messages;
mod mailbox_page;
mod read_notification;
mod stream_notifications;
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
        );
    // There is nothing there but in development, where nobody can sign in before they have read
    // the code that is in it.
    routes
        .route(Access::Public, routes!(mailbox_page::mailbox_page))
        .route(Access::Public, routes!(mailbox_messages::mailbox_messages))
        .route(Access::Public, routes!(mailbox_html::mailbox_html))
}
