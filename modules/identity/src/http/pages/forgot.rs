//! `/password/forgot`: asks for a code to set a new password with.

use std::sync::Arc;

use axum::{extract::State as Shared, response::Response};
use kernel::{Form, Language};
use serde::Deserialize;

use super::{
    form::{Next, Wrong, see_other, with_query},
    sign_in_mail::{AskPage, ask},
    texts,
};
use crate::{State, domain::CodePurpose, http::error::Error};

fn new_page(l: Language) -> AskPage {
    AskPage {
        l,
        action: "/password/forgot",
        title: texts::FORGOT_TITLE,
        lead: texts::FORGOT_LEAD,
        back: "/sign-in".to_owned(),
        next: Next::default(),
        email: String::new(),
        wrong: Wrong::default(),
    }
}

pub(super) async fn page(language: Language) -> Response {
    new_page(language).answer()
}

#[derive(Deserialize)]
pub(super) struct ForgotForm {
    email: String,
}

#[tracing::instrument(name = "identity.page.forgot_password", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    Form(form): Form<ForgotForm>,
) -> Result<Response, Error> {
    match ask(&state, CodePurpose::PasswordReset, &form.email).await {
        Ok(id) => Ok(see_other(&with_query("/password/reset", &[("id", &id)]))),
        Err(error) => Ok(AskPage {
            wrong: Wrong::with(error)?,
            email: form.email,
            ..new_page(language)
        }
        .answer()),
    }
}
