//! The pages of notifications, for people, and of mails, for administrators. They need no script.

mod inbox;
mod mail;
mod mails;
mod suppressions;
mod templates;
mod texts;

use kernel::{
    Access, Routes, Text,
    fragment::{Area, NavItem},
};

use super::operations::ROLE;
use crate::State;

pub(crate) const NAVIGATION: &[NavItem] = &[
    NavItem {
        area: Area::Account,
        path: inbox::PATH,
        title: texts::NOTIFICATIONS,
        position: 30,
    },
    NavItem {
        area: Area::Admin,
        path: mails::PATH,
        title: Text::new("Mails", "Mails"),
        position: 40,
    },
];

pub(crate) fn add(routes: Routes<State>) -> Routes<State> {
    use Access::Authenticated;
    const ADMIN: Access = Access::Role(ROLE);

    routes
        .page(Authenticated, inbox::PATH, inbox::page)
        .form(
            Authenticated,
            "/account/notifications/preferences",
            inbox::save_preferences,
        )
        .form(
            Authenticated,
            "/account/notifications/read-all",
            inbox::read_all,
        )
        .form(
            Authenticated,
            "/account/notifications/{id}/read",
            inbox::read,
        )
        .page(ADMIN, mails::PATH, mails::page)
        .page(ADMIN, suppressions::PATH, suppressions::page)
        .form(
            ADMIN,
            "/admin/mails/suppressions/{id}/lift",
            suppressions::lift,
        )
        .page(ADMIN, templates::PATH, templates::list)
        .page(ADMIN, "/admin/mails/templates/{id}", templates::page)
        .page(
            ADMIN,
            "/admin/mails/templates/{id}/html",
            templates::document,
        )
        .page(ADMIN, "/admin/mails/{id}", mail::page)
        .form(ADMIN, "/admin/mails/{id}/retry", mail::retry)
        .form(ADMIN, "/admin/mails/{id}/give-up", mail::give_up)
}
