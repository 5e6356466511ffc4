//! Routes for other processes of the installation: on the listener for operations alone.

mod exchange;

use std::sync::Arc;

use axum::{Router, routing::post};
use kernel::browser_session::EXCHANGE;

use crate::State;

pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route(EXCHANGE, post(exchange::exchange))
        .with_state(state)
}
