//! The pages that people see of profiles. They need no script.

mod edit;
mod person;
mod picture;
mod texts;

use kernel::{
    Access, Routes,
    fragment::{Area, NavItem},
};

use crate::State;

pub(crate) const NAVIGATION: &[NavItem] = &[NavItem {
    area: Area::Account,
    path: edit::PATH,
    title: texts::PROFILE,
    position: 20,
}];

pub(crate) fn add(routes: Routes<State>) -> Routes<State> {
    use Access::Authenticated;

    routes
        .page(Authenticated, edit::PATH, edit::page)
        .form(Authenticated, edit::PATH, edit::submit)
        .form(Authenticated, "/account/profile/picture", picture::replace)
        .form(
            Authenticated,
            "/account/profile/picture/remove",
            picture::remove,
        )
        .page(Authenticated, "/people/{id}", person::page)
}
