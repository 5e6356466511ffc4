//! `/notifications/unsubscribe`: the way out of mails of one kind, without signing in (RFC 8058).

pub(crate) mod form;
pub(crate) mod submit;

use askama::Template;
use axum::{http::StatusCode, response::Response};
use kernel::{Fragment, Language, Problem, UserId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    State,
    domain::{Category, Locale},
    store,
};

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
struct UnsubscribePage {
    german: bool,
    step: Step,
    category: Category,
}

impl UnsubscribePage {
    fn is(&self, step: Step) -> bool {
        self.step == step
    }
}

fn page(status: StatusCode, step: Step, category: Category, locale: Locale) -> Response {
    let (language, title) = match locale {
        Locale::En => (Language::En, "Unsubscribe"),
        Locale::De => (Language::De, "Mails abbestellen"),
    };
    let page = UnsubscribePage {
        german: language == Language::De,
        step,
        category,
    };
    Fragment::with_status(status, title, language, &page)
}

fn unknown() -> Response {
    page(
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
