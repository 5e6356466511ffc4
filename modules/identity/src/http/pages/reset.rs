//! `/password/reset`: sets a new password with a code from the mail, whose link leads here.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, http::HeaderValue, response::Response};
use kernel::{Form, Fragment, Language, Query, Secret};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    form::{Wrong, see_other},
    session, texts,
};
use crate::{
    State,
    http::{error::Error, password::reset},
};

#[derive(Template)]
#[template(path = "pages/reset.html")]
struct Page {
    l: Language,
    id: Uuid,
    code: String,
    wrong: Wrong,
}

impl Page {
    fn answer(self) -> Response {
        let title = texts::FORGOT_TITLE.of(&self.l);
        Fragment::with_status(self.wrong.status, title, self.l, &self)
    }
}

#[derive(Deserialize)]
pub(super) struct Params {
    id: Uuid,
    #[serde(default)]
    code: String,
}

pub(super) async fn page(language: Language, Query(params): Query<Params>) -> Response {
    Page {
        l: language,
        id: params.id,
        code: params.code,
        wrong: Wrong::default(),
    }
    .answer()
}

#[derive(Deserialize)]
pub(super) struct ResetForm {
    id: Uuid,
    code: Secret,
    new_password: Secret,
}

#[tracing::instrument(name = "identity.page.reset_password", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    Form(form): Form<ResetForm>,
) -> Result<Response, Error> {
    match set(&state, &form).await {
        Ok(cookie) => Ok(session::with_cookie(see_other("/account"), cookie)),
        Err(error) => {
            let wrong = Wrong::with(error)?;
            // A code that was not tried need not be typed again.
            let code = match wrong.alert {
                None => form.code.expose().to_owned(),
                Some(_) => String::new(),
            };
            Ok(Page {
                l: language,
                id: form.id,
                code,
                wrong,
            }
            .answer())
        }
    }
}

async fn set(state: &State, form: &ResetForm) -> Result<HeaderValue, Error> {
    let now = state.db.world().now();
    let (mut tx, holder) = reset::set(state, form.id, &form.code, &form.new_password).await?;
    let cookie = session::begin(state, &mut tx, holder, now).await?;
    tx.commit().await?;
    Ok(cookie)
}
