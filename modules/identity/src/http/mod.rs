//! The routes of the module.

mod cache;
pub(crate) mod error;
pub(crate) mod internal;
mod jwks;
mod login;
mod logout;
mod me;
pub(crate) mod pages;
mod password;
mod refresh;
mod registrations;
mod sessions;
mod setup;
mod token;
mod tokens;
mod users;

use std::sync::Arc;

use kernel::{Access, Routes, routes::Deprecation};
use time::macros::date;
use utoipa_axum::routes;

use crate::{State, domain::ADMIN};

/// Services signed in below `/api/v1/auth` before `/oauth` was there.
const TOKEN_BEFORE: Deprecation = Deprecation {
    since: date!(2026 - 11 - 21),
    sunset: date!(2027 - 02 - 19),
    successor: "/oauth/token",
};

pub(crate) fn routes() -> Routes<Arc<State>> {
    use Access::{Authenticated, Public, Role};

    let routes = Routes::new()
        .route(Public, routes!(registrations::register::register))
        .guessable()
        .route(Public, routes!(registrations::verify::verify))
        .guessable()
        .route(Public, routes!(registrations::resend::resend))
        .guessable()
        .route(Public, routes!(login::password::login))
        .guessable()
        .route(Public, routes!(login::code::request_sign_in_code))
        .guessable()
        .route(Public, routes!(login::verify_code::sign_in_with_code))
        .guessable()
        .route(Public, routes!(password::forgot::forgot_password))
        .guessable()
        .route(Public, routes!(password::reset::reset_password))
        .guessable()
        .route(Authenticated, routes!(password::change::change_password))
        .guessable()
        .route(
            Authenticated,
            routes!(
                sessions::list::list_sessions,
                sessions::end_others::end_other_sessions
            ),
        )
        .route(Authenticated, routes!(sessions::end::end_session))
        // Refresh tokens cannot be guessed, and people behind one address refresh all day.
        .route(Public, routes!(refresh::refresh))
        .route(Public, routes!(logout::logout))
        .route(Public, routes!(token::token))
        .guessable()
        .route(Public, routes!(token::token_before))
        .guessable()
        .deprecated(TOKEN_BEFORE)
        .route(Authenticated, routes!(me::me))
        .route(Role(ADMIN), routes!(users::list::list_users))
        .route(Role(ADMIN), routes!(users::get::get_user))
        .route(Role(ADMIN), routes!(users::act::suspend_user))
        .route(Role(ADMIN), routes!(users::act::reinstate_user))
        .route(Role(ADMIN), routes!(users::act::sign_out_user))
        .route(
            Role(ADMIN),
            routes!(users::roles::grant_role, users::roles::revoke_role),
        )
        .route(Public, routes!(jwks::jwks))
        .route(Public, routes!(setup::form::form, setup::submit::submit))
        .guessable();
    pages::add(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who may call what is a decision: a change of it must be made here too.
    #[test]
    fn the_table_of_access() {
        let api = routes().describe();
        let table: Vec<String> = api
            .routes
            .iter()
            .map(|route| format!("{} {} {:?}", route.method, route.path, route.access))
            .collect();
        assert_eq!(
            table,
            [
                "POST /api/v1/auth/registrations Public",
                "POST /api/v1/auth/registrations/{id}/verify Public",
                "POST /api/v1/auth/registrations/{id}/resend Public",
                "POST /api/v1/auth/login Public",
                "POST /api/v1/auth/login/code Public",
                "POST /api/v1/auth/login/code/verify Public",
                "POST /api/v1/auth/password/forgot Public",
                "POST /api/v1/auth/password/reset Public",
                "POST /api/v1/auth/password/change Authenticated",
                "GET /api/v1/auth/sessions Authenticated",
                "DELETE /api/v1/auth/sessions Authenticated",
                "DELETE /api/v1/auth/sessions/{id} Authenticated",
                "POST /api/v1/auth/refresh Public",
                "POST /api/v1/auth/logout Public",
                "POST /oauth/token Public",
                "POST /api/v1/auth/token Public",
                "GET /api/v1/auth/me Authenticated",
                "GET /api/v1/users Role(\"admin\")",
                "GET /api/v1/users/{id} Role(\"admin\")",
                "POST /api/v1/users/{id}/suspend Role(\"admin\")",
                "POST /api/v1/users/{id}/reinstate Role(\"admin\")",
                "POST /api/v1/users/{id}/sign-out Role(\"admin\")",
                "PUT /api/v1/users/{id}/roles/{role} Role(\"admin\")",
                "DELETE /api/v1/users/{id}/roles/{role} Role(\"admin\")",
                "GET /.well-known/jwks.json Public",
                "GET /setup Public",
                "POST /setup Public",
                "GET /sign-in Public",
                "POST /sign-in Public",
                "GET /sign-in/mail Public",
                "POST /sign-in/mail Public",
                "GET /sign-in/code Public",
                "POST /sign-in/code Public",
                "POST /sign-out Public",
                "GET /sign-up Public",
                "POST /sign-up Public",
                "GET /sign-up/verify Public",
                "POST /sign-up/verify Public",
                "GET /password/forgot Public",
                "POST /password/forgot Public",
                "GET /password/reset Public",
                "POST /password/reset Public",
                "GET /account Authenticated",
                "GET /account/sessions Authenticated",
                "POST /account/sessions/end-others Authenticated",
                "POST /account/sessions/{id}/end Authenticated",
                "GET /admin/users Role(\"admin\")",
                "GET /admin/users/{id} Role(\"admin\")",
                "POST /admin/users/{id}/{act} Role(\"admin\")",
                "GET /account/password Authenticated",
                "POST /account/password Authenticated",
            ]
        );
        let prefixes = kernel::Module::prefixes(&crate::Module);
        for route in &api.routes {
            assert!(
                prefixes.iter().any(|prefix| route.path.starts_with(prefix)),
                "{}",
                route.path
            );
        }
    }
}
