//! `/sign-in`.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, http::HeaderValue, response::Response};
use kernel::{Form, Fragment, Language, Query, Secret};
use serde::Deserialize;

use super::{
    form::{Next, Wrong, with_query},
    session, texts,
};
use crate::{
    State,
    domain::{Email, Password},
    http::error::Error,
    sign_in,
};

#[derive(Template)]
#[template(path = "pages/sign_in.html")]
struct Page {
    l: Language,
    next: Next,
    email: String,
    wrong: Wrong,
    by_password: bool,
    by_registration: bool,
}

impl Page {
    fn link(&self, path: &str) -> String {
        with_query(path, &[("next", self.next.as_str())])
    }

    fn answer(self) -> Response {
        let title = texts::SIGN_IN.of(&self.l);
        Fragment::with_status(self.wrong.status, title, self.l, &self)
    }
}

#[derive(Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    next: Next,
}

pub(super) async fn page(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    Query(params): Query<Params>,
) -> Response {
    new_page(&state, language, params.next).answer()
}

fn new_page(state: &State, l: Language, next: Next) -> Page {
    Page {
        l,
        next,
        email: String::new(),
        wrong: Wrong::default(),
        by_password: state.config.password_sign_in,
        by_registration: state.config.registration.open,
    }
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    email: String,
    password: Secret,
    #[serde(default)]
    next: Next,
}

#[tracing::instrument(name = "identity.page.sign_in", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    Form(form): Form<SignInForm>,
) -> Result<Response, Error> {
    match sign_in(&state, &form).await {
        Ok(cookie) => Ok(session::with_cookie(form.next.redirect(), cookie)),
        Err(error) => Ok(Page {
            wrong: Wrong::with(error)?,
            email: form.email,
            ..new_page(&state, language, form.next)
        }
        .answer()),
    }
}

async fn sign_in(state: &State, form: &SignInForm) -> Result<HeaderValue, Error> {
    let (Ok(email), Some(password)) = (Email::parse(&form.email), Password::typed(&form.password))
    else {
        return Err(Error::InvalidCredentials);
    };
    let holder = sign_in::check_password(state, &email, password).await?;
    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    let cookie = session::begin(state, &mut tx, holder, now).await?;
    tx.commit().await?;
    Ok(cookie)
}
