//! The routes of the module.

mod audit_filter;
mod audit_verification;
mod export_audit;
mod filters;
mod list_audit;
mod log_filter;
mod log_histogram;
pub(crate) mod pages;
mod receive_lines;
mod receive_logs;
mod receiving;
mod search_logs;
mod tail_logs;

use std::time::Duration;

use axum::http::StatusCode;
use kernel::{Access, Problem, Routes};
use sqlx::error::DatabaseError;
use utoipa_axum::routes;

use crate::State;

const ADMIN: Access = Access::Role("admin");

pub(crate) fn routes() -> Routes<State> {
    let routes = Routes::new()
        .route(ADMIN, routes!(search_logs::search_logs))
        .route(ADMIN, routes!(tail_logs::tail_logs))
        .route(ADMIN, routes!(log_histogram::log_histogram))
        .route(ADMIN, routes!(list_audit::list_audit))
        .route(ADMIN, routes!(export_audit::export_audit))
        .route(
            ADMIN,
            routes!(
                audit_verification::show_audit_verification,
                audit_verification::run_audit_verification
            ),
        )
        .route(
            Access::Scope("logs:write"),
            routes!(receive_logs::receive_logs),
        )
        .route(
            Access::Scope("logs:write"),
            routes!(receive_lines::receive_lines),
        );
    pages::add(routes)
}

/// Why a search has no result.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error("the search took too long")]
    TimedOut,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for SearchError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(DatabaseError::code);
        // query_canceled: what statement_timeout ends with.
        match code.as_deref() {
            Some("57014") => Self::TimedOut,
            _ => Self::Database(error),
        }
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::TimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "query-too-slow",
                "The search took too long",
            )
            .detail("Narrow the range of time, or name a service, an actor or a trace."),
            SearchError::Database(error) => error.into(),
        }
    }
}

/// Bounds a search of several statements as a whole; each has the same bound in the database, which
/// also ends it there.
async fn within<T>(
    timeout: Duration,
    search: impl Future<Output = Result<T, SearchError>>,
) -> Result<T, SearchError> {
    tokio::time::timeout(timeout, search)
        .await
        .unwrap_or(Err(SearchError::TimedOut))
}
