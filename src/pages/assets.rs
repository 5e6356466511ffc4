//! Style, script and icon, compiled in. Their addresses carry a digest, so that browsers keep them for
//! ever and still see a new release at once.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use kernel::{Problem, context::hex};

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    url: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |name: &'static str, content_type, bytes: &'static [u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let digest = hex(&digest.as_ref()[..6]);
        Asset {
            name,
            content_type,
            bytes,
            url: format!("/static/{digest}/{name}"),
        }
    };
    vec![
        asset(
            "banyan.css",
            "text/css; charset=utf-8",
            include_bytes!("../../static/banyan.css"),
        ),
        asset(
            "banyan.js",
            "text/javascript; charset=utf-8",
            include_bytes!("../../static/banyan.js"),
        ),
        asset(
            "icon.svg",
            "image/svg+xml",
            include_bytes!("../../static/icon.svg"),
        ),
    ]
});

/// Where an asset is.
///
/// # Panics
/// When there is none of this name.
pub fn url(name: &str) -> &'static str {
    let found = ASSETS.iter().find(|asset| asset.name == name);
    &found.expect("templates name assets that exist").url
}

/// `GET /static/{digest}/{name}`. An older digest is answered with what is there now, and not kept: during
/// an upgrade, pages of one release may ask the other.
pub async fn serve(Path((digest, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Problem::not_found().into_response();
    };
    let current = asset.url.split('/').nth(2) == Some(&*digest);
    let keep = if current {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(asset.content_type),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
    ];
    (headers, asset.bytes).into_response()
}
