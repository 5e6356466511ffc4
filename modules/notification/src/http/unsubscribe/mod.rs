//! `/notifications/unsubscribe`: the way out of mails of one kind, without signing in (RFC 8058).

pub(crate) mod form;
pub(crate) mod submit;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use kernel::{Problem, UserId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::mailbox::page_headers;
use crate::{
    State,
    domain::{Category, Locale},
    store,
};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnsubscribeParams {
    /// As the link in the mail carries it.
    #[param(max_length = 200)]
    token: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Ask,
    Done,
    /// The link was not made here, or its person is gone.
    Unknown,
}

#[derive(Template)]
#[template(path = "unsubscribe.html")]
struct UnsubscribePage<'a> {
    product: &'a str,
    german: bool,
    step: Step,
    category: Category,
}

impl UnsubscribePage<'_> {
    fn is(&self, step: Step) -> bool {
        self.step == step
    }
}

fn page(
    state: &State,
    status: StatusCode,
    step: Step,
    category: Category,
    locale: Locale,
) -> Response {
    let page = UnsubscribePage {
        product: &state.frame.product,
        german: locale == Locale::De,
        step,
        category,
    };
    match page.render() {
        Ok(html) => (status, page_headers(POLICY), Html(html)).into_response(),
        Err(error) => Problem::internal(error).into_response(),
    }
}

fn unknown(state: &State) -> Response {
    page(
        state,
        StatusCode::NOT_FOUND,
        Step::Unknown,
        Category::Product,
        Locale::En,
    )
}

/// The language that the person is written to in; nothing when they are not known.
async fn locale(state: &State, user_id: UserId) -> Result<Option<Locale>, Problem> {
    let mut conn = state.db.pool().acquire().await?;
    let recipient = store::recipients::find(&mut conn, user_id).await?;
    Ok(recipient.map(|recipient| Locale::nearest(&recipient.locale)))
}
