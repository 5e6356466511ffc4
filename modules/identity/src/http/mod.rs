//! The routes of the module.

mod cache;
pub(crate) mod error;
mod jwks;
mod login;
mod logout;
mod me;
mod password;
mod refresh;
mod registrations;
mod sessions;
mod setup;
mod token;
mod tokens;

use std::sync::Arc;

use kernel::{Access, Routes};
use utoipa_axum::routes;

use crate::State;

pub(crate) fn routes() -> Routes<Arc<State>> {
    use Access::{Authenticated, Public};

    Routes::new()
        .route(Public, routes!(registrations::register::register))
        .route(Public, routes!(registrations::verify::verify))
        .route(Public, routes!(registrations::resend::resend))
        .route(Public, routes!(login::password::login))
        .route(Public, routes!(login::code::request_sign_in_code))
        .route(Public, routes!(login::verify_code::sign_in_with_code))
        .route(Public, routes!(password::forgot::forgot_password))
        .route(Public, routes!(password::reset::reset_password))
        .route(Authenticated, routes!(password::change::change_password))
        .route(
            Authenticated,
            routes!(
                sessions::list::list_sessions,
                sessions::end_others::end_other_sessions
            ),
        )
        .route(Authenticated, routes!(sessions::end::end_session))
        .route(Public, routes!(refresh::refresh))
        .route(Public, routes!(logout::logout))
        .route(Public, routes!(token::token))
        .route(Authenticated, routes!(me::me))
        .route(Public, routes!(jwks::jwks))
        .route(Public, routes!(setup::form::form, setup::submit::submit))
        .route(Public, routes!(setup::style::style))
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
                "POST /api/v1/auth/token Public",
                "GET /api/v1/auth/me Authenticated",
                "GET /.well-known/jwks.json Public",
                "GET /setup Public",
                "POST /setup Public",
                "GET /setup/style.css Public",
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
