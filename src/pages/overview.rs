//! `/admin`: how the installation is, at a glance.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use kernel::{Fragment, Language, Problem, routes::bearer};
use serde_json::Value;

use crate::{
    gateway::{Gateway, health},
    modules::MODULES,
};

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    modules: Vec<Module>,
    services: Vec<Service>,
}

struct Module {
    name: &'static str,
    summary: &'static str,
    status: String,
    reason: Option<String>,
}

struct Service {
    name: String,
    status: String,
}

/// # Errors
/// Nobody sees it but administrators.
pub async fn serve(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let token = bearer(&headers).ok_or_else(Problem::unauthorized)?;
    let principal = gateway.app.verifier.authenticate(token).await?;
    if !principal.has_role("admin") {
        return Err(Problem::forbidden("This needs the role admin."));
    }
    let (_, told) = health::readiness(&gateway, None).await;
    let text = |of: &Value, name: &str| of[name].as_str().map(str::to_owned);
    let modules = MODULES.iter().map(|module| {
        let told = &told["modules"][module.name()];
        Module {
            name: module.name(),
            summary: module.summary(),
            // Of one that this process does not reach, nothing is known here.
            status: text(told, "status").unwrap_or_else(|| "elsewhere".to_owned()),
            reason: text(told, "reason"),
        }
    });
    let services = told["services"].as_object().into_iter().flatten();
    let page = Page {
        modules: modules.collect(),
        services: services
            .map(|(name, told)| Service {
                name: name.clone(),
                status: text(told, "status").unwrap_or_default(),
            })
            .collect(),
    };
    Ok(Fragment::page("Overview", Language::En, &page).into_response())
}
