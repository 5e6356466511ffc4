//! `/account/password`.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Form, Fragment, Language, Query, Secret, principal::CurrentUser};
use serde::Deserialize;

use super::{
    form::{Wrong, see_other},
    texts,
};
use crate::{
    State,
    http::{error::Error, password::change},
    store,
};

#[derive(Template)]
#[template(path = "pages/password.html")]
struct Page {
    l: Language,
    /// For password managers.
    email: String,
    has_password: bool,
    done: bool,
    wrong: Wrong,
}

impl Page {
    fn answer(self) -> Response {
        let title = texts::CHANGE_PASSWORD.of(&self.l);
        Fragment::with_status(self.wrong.status, title, self.l, &self)
    }
}

#[derive(Deserialize)]
pub(super) struct Params {
    done: Option<String>,
}

#[tracing::instrument(name = "identity.page.password", skip_all)]
pub(super) async fn page(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    caller: CurrentUser,
    Query(params): Query<Params>,
) -> Result<Response, Error> {
    let done = params.done.is_some();
    let page = new_page(&state, language, caller, done, Wrong::default());
    Ok(page.await?.answer())
}

async fn new_page(
    state: &State,
    l: Language,
    caller: CurrentUser,
    done: bool,
    wrong: Wrong,
) -> Result<Page, Error> {
    let now = state.db.world().now();
    let mut conn = state.db.pool().acquire().await?;
    let user = store::users::of_session(&mut conn, caller.id, caller.session, now).await?;
    Ok(Page {
        l,
        email: user.ok_or(Error::SessionGone)?.email,
        has_password: store::users::has_password(&mut conn, caller.id).await?,
        done,
        wrong,
    })
}

#[derive(Deserialize)]
pub(super) struct ChangeForm {
    current_password: Secret,
    new_password: Secret,
}

#[tracing::instrument(name = "identity.page.change_password", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    caller: CurrentUser,
    Form(form): Form<ChangeForm>,
) -> Result<Response, Error> {
    let changed = change::change(&state, caller, &form.current_password, &form.new_password).await;
    match changed {
        Ok(()) => Ok(see_other("/account/password?done=yes")),
        Err(error) => {
            let page = new_page(&state, language, caller, false, Wrong::with(error)?);
            Ok(page.await?.answer())
        }
    }
}
