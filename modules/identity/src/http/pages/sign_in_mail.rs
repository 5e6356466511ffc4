//! `/sign-in/mail`: asks for a code.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Form, Fragment, Language, Query};
use serde::Deserialize;

use super::{
    form::{Next, Wrong, see_other, with_query},
    texts,
};
use crate::{
    State, codes,
    domain::CodePurpose,
    http::{error::Error, login::code::CodeRequest},
};

#[derive(Template)]
#[template(path = "pages/ask_code.html")]
pub(super) struct AskPage {
    pub(super) l: Language,
    pub(super) action: &'static str,
    pub(super) title: kernel::Text,
    pub(super) lead: kernel::Text,
    pub(super) back: String,
    pub(super) next: Next,
    pub(super) email: String,
    pub(super) wrong: Wrong,
}

impl AskPage {
    pub(super) fn answer(self) -> Response {
        let title = self.title.of(&self.l);
        Fragment::with_status(self.wrong.status, title, self.l, &self)
    }
}

#[derive(Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    next: Next,
}

fn new_page(l: Language, next: Next) -> AskPage {
    AskPage {
        l,
        action: "/sign-in/mail",
        title: texts::CODE_TITLE,
        lead: texts::CODE_LEAD,
        back: with_query("/sign-in", &[("next", next.as_str())]),
        next,
        email: String::new(),
        wrong: Wrong::default(),
    }
}

pub(super) async fn page(language: Language, Query(params): Query<Params>) -> Response {
    new_page(language, params.next).answer()
}

#[derive(Deserialize)]
pub(super) struct AskForm {
    email: String,
    #[serde(default)]
    next: Next,
}

#[tracing::instrument(name = "identity.page.request_sign_in_code", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    Form(form): Form<AskForm>,
) -> Result<Response, Error> {
    match ask(&state, CodePurpose::SignIn, &form.email).await {
        Ok(id) => {
            let pairs = [("id", &*id), ("next", form.next.as_str())];
            Ok(see_other(&with_query("/sign-in/code", &pairs)))
        }
        Err(error) => Ok(AskPage {
            wrong: Wrong::with(error)?,
            email: form.email,
            ..new_page(language, form.next)
        }
        .answer()),
    }
}

/// The id of what was asked for.
pub(super) async fn ask(state: &State, purpose: CodePurpose, email: &str) -> Result<String, Error> {
    let request = CodeRequest {
        email: email.to_owned(),
    };
    let asked = codes::ask(state, purpose, &request.parse()?).await?;
    Ok(asked.code_id.to_string())
}
