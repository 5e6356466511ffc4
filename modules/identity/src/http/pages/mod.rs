//! The pages that people see of identity. They need no script.
//!
//! Each page has a file: its form, and what the form is sent to. What is done with it is what the API's
//! operation of the same name does.

mod account;
mod code;
mod forgot;
mod form;
mod password;
mod reset;
mod session;
mod sessions;
mod sign_in;
mod sign_in_mail;
mod sign_out;
mod sign_up;
mod sign_up_verify;
mod texts;
mod users;

use std::sync::Arc;

use kernel::{
    Access, Routes, Text,
    fragment::{Area, NavItem},
};

use crate::{State, domain::ADMIN};

pub(crate) const NAVIGATION: &[NavItem] = &[
    NavItem {
        area: Area::Account,
        path: "/account",
        title: texts::ACCOUNT,
        position: 10,
    },
    NavItem {
        area: Area::Account,
        path: "/account/sessions",
        title: texts::SESSIONS_NAV,
        position: 40,
    },
    NavItem {
        area: Area::Admin,
        path: "/admin/users",
        title: Text::new("Users", "Benutzer"),
        position: 20,
    },
    NavItem {
        area: Area::Account,
        path: "/account/password",
        title: texts::PASSWORD,
        position: 50,
    },
];

pub(crate) fn add(routes: Routes<Arc<State>>) -> Routes<Arc<State>> {
    use Access::{Authenticated, Public, Role};

    routes
        .page(Public, "/sign-in", sign_in::page)
        .form(Public, "/sign-in", sign_in::submit)
        .guessable()
        .page(Public, "/sign-in/mail", sign_in_mail::page)
        .form(Public, "/sign-in/mail", sign_in_mail::submit)
        .guessable()
        .page(Public, "/sign-in/code", code::page)
        .form(Public, "/sign-in/code", code::submit)
        .guessable()
        .form(Public, "/sign-out", sign_out::submit)
        .page(Public, "/sign-up", sign_up::page)
        .form(Public, "/sign-up", sign_up::submit)
        .guessable()
        .page(Public, "/sign-up/verify", sign_up_verify::page)
        .form(Public, "/sign-up/verify", sign_up_verify::submit)
        .guessable()
        .page(Public, "/password/forgot", forgot::page)
        .form(Public, "/password/forgot", forgot::submit)
        .guessable()
        .page(Public, "/password/reset", reset::page)
        .form(Public, "/password/reset", reset::submit)
        .guessable()
        .page(Authenticated, "/account", account::page)
        .page(Authenticated, "/account/sessions", sessions::page)
        .form(
            Authenticated,
            "/account/sessions/end-others",
            sessions::end_others,
        )
        .form(Authenticated, "/account/sessions/{id}/end", sessions::end)
        .page(Role(ADMIN), "/admin/users", users::list)
        .page(Role(ADMIN), "/admin/users/{id}", users::user)
        .form(Role(ADMIN), "/admin/users/{id}/{act}", users::act)
        .page(Authenticated, "/account/password", password::page)
        .form(Authenticated, "/account/password", password::submit)
        .guessable()
}
