//! `/sign-up`.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Form, Fragment, Language, Secret};
use serde::Deserialize;

use super::{
    form::{Wrong, filled, see_other, with_query},
    session, sign_up_verify, texts,
};
use crate::{
    State,
    http::{
        error::Error,
        registrations::register::{RegisterRequest, begin},
    },
};

#[derive(Template)]
#[template(path = "pages/sign_up.html")]
struct Page {
    l: Language,
    open: bool,
    by_password: bool,
    email: String,
    display_name: String,
    wrong: Wrong,
}

impl Page {
    fn answer(self) -> Response {
        let title = texts::SIGN_UP.of(&self.l);
        Fragment::with_status(self.wrong.status, title, self.l, &self)
    }
}

fn new_page(state: &State, l: Language) -> Page {
    Page {
        l,
        open: state.config.registration.open,
        by_password: state.config.password_sign_in,
        email: String::new(),
        display_name: String::new(),
        wrong: Wrong::default(),
    }
}

pub(super) async fn page(Shared(state): Shared<Arc<State>>, language: Language) -> Response {
    new_page(&state, language).answer()
}

#[derive(Deserialize)]
pub(super) struct SignUpForm {
    email: String,
    #[serde(default)]
    display_name: String,
    password: Option<Secret>,
    /// Of the browser, if a script told.
    #[serde(default)]
    time_zone: String,
}

#[tracing::instrument(name = "identity.page.sign_up", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    Form(form): Form<SignUpForm>,
) -> Result<Response, Error> {
    let name = form.display_name.trim();
    let request = RegisterRequest {
        email: form.email.clone(),
        password: filled(form.password),
        display_name: (!name.is_empty()).then(|| name.to_owned()),
        locale: Some(language.tag().to_owned()),
        // What the browser says of itself is no reason to refuse anybody.
        time_zone: Some(form.time_zone).filter(|zone| crate::domain::TimeZone::parse(zone).is_ok()),
    };
    match begin(&state, request).await {
        Ok(begun) => {
            let id = begun.id.to_string();
            let to = with_query("/sign-up/verify", &[("id", &id)]);
            let cookie = sign_up_verify::begun_here(&state, begun.id);
            Ok(session::with_cookie(see_other(&to), cookie))
        }
        Err(error) => Ok(Page {
            email: form.email,
            display_name: form.display_name,
            wrong: Wrong::with(error)?,
            ..new_page(&state, language)
        }
        .answer()),
    }
}
