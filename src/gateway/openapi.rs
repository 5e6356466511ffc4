//! One OpenAPI 3.1 document for the whole installation, put together from the modules'.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::openapi::{
    Components, Info, OpenApi, OpenApiBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};

use crate::{gateway::Gateway, modules::MODULES};

pub fn document() -> OpenApi {
    let mut info = Info::new("Banyan", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Accounts and sign-in, profiles, notifications, logs and audit. Every error is a problem \
         document (RFC 9457)."
            .to_owned(),
    );
    let mut document = OpenApiBuilder::new().info(info).build();
    let mut tags = Vec::new();
    for module in MODULES {
        let mut part = module.api().openapi;
        for item in part.paths.paths.values_mut() {
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
                &mut item.patch,
            ];
            for operation in operations.into_iter().flatten() {
                operation.tags = Some(vec![module.name().to_owned()]);
            }
        }
        document.merge(part);
        tags.push(
            TagBuilder::new()
                .name(module.name())
                .description(Some(module.summary()))
                .build(),
        );
    }
    document.tags = Some(tags);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token, as sign-in answers it (RFC 6750)."))
        .build();
    document
        .components
        .get_or_insert_with(Components::new)
        .add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

pub async fn serve(State(gateway): State<Arc<Gateway>>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        gateway.openapi.clone(),
    )
        .into_response()
}
