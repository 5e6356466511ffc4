//! `/sign-in/code`: signs in with a code from the mail, whose link leads here with the code filled in.
//! Looking at the page uses nothing up.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, http::HeaderValue, response::Response};
use kernel::{Form, Fragment, Language, Query, Secret};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    form::{Next, Wrong, with_query},
    session, texts,
};
use crate::{State, codes, domain::CodePurpose, http::error::Error};

#[derive(Template)]
#[template(path = "pages/code.html")]
struct Page {
    l: Language,
    id: Uuid,
    code: String,
    next: Next,
    wrong: Wrong,
}

impl Page {
    fn another(&self) -> String {
        with_query("/sign-in/mail", &[("next", self.next.as_str())])
    }

    fn answer(self) -> Response {
        let title = texts::CODE_TITLE.of(&self.l);
        Fragment::with_status(self.wrong.status, title, self.l, &self)
    }
}

#[derive(Deserialize)]
pub(super) struct Params {
    id: Uuid,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: Next,
}

pub(super) async fn page(language: Language, Query(params): Query<Params>) -> Response {
    Page {
        l: language,
        id: params.id,
        code: params.code,
        next: params.next,
        wrong: Wrong::default(),
    }
    .answer()
}

#[derive(Deserialize)]
pub(super) struct CodeForm {
    id: Uuid,
    code: Secret,
    #[serde(default)]
    next: Next,
}

#[tracing::instrument(name = "identity.page.sign_in_with_code", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    Form(form): Form<CodeForm>,
) -> Result<Response, Error> {
    match sign_in(&state, &form).await {
        Ok(cookie) => Ok(session::with_cookie(form.next.redirect(), cookie)),
        Err(error) => Ok(Page {
            l: language,
            id: form.id,
            code: String::new(),
            next: form.next,
            wrong: Wrong::with(error)?,
        }
        .answer()),
    }
}

async fn sign_in(state: &State, form: &CodeForm) -> Result<HeaderValue, Error> {
    let holder = codes::check(state, CodePurpose::SignIn, form.id, form.code.expose()).await?;
    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    let cookie = session::begin(state, &mut tx, holder, now).await?;
    tx.commit().await?;
    Ok(cookie)
}
