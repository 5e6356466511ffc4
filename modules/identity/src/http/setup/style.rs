//! `GET /setup/style.css`.

use axum::http::{HeaderName, HeaderValue, header};

const STYLE: &str = include_str!("../../../../../templates/identity/setup.css");

/// The stylesheet of the setup page.
#[utoipa::path(
    get,
    path = "/setup/style.css",
    operation_id = "setup_style",
    responses((status = 200, description = "The stylesheet", body = String,
               content_type = "text/css"))
)]
pub(crate) async fn style() -> ([(HeaderName, HeaderValue); 2], &'static str) {
    let text = |value| HeaderValue::from_static(value);
    (
        [
            (header::CONTENT_TYPE, text("text/css; charset=utf-8")),
            (header::CACHE_CONTROL, text("public, max-age=3600")),
        ],
        STYLE,
    )
}
