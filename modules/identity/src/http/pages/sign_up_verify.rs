//! `/sign-up/verify`: proves the address with the code from the mail, whose link leads here.
//!
//! In the browser that registered, the code is enough. In another, the person chooses a password: whoever
//! registered a stranger's address must not know the one of the account.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State as Shared,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use kernel::{FieldError, Form, Fragment, Language, Query, Secret};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    form::{Wrong, filled, see_other},
    session, texts,
};
use crate::{
    State,
    http::{error::Error, registrations::verify::prove},
};

#[derive(Template)]
#[template(path = "pages/sign_up_verify.html")]
struct Page {
    l: Language,
    id: Uuid,
    code: String,
    /// The registration was begun in another browser.
    elsewhere: bool,
    by_password: bool,
    wrong: Wrong,
}

impl Page {
    fn answer(self) -> Response {
        let title = texts::PROVE_TITLE.of(&self.l);
        Fragment::with_status(self.wrong.status, title, self.l, &self)
    }
}

/// The cookie by which a browser is known to have begun a registration. With the prefix no other host of
/// the domain can plant one.
fn cookie_name(state: &State) -> &'static str {
    match state.public_url.scheme() {
        "https" => "__Host-banyan-sign-up",
        _ => "banyan-sign-up",
    }
}

pub(super) fn begun_here(state: &State, id: Uuid) -> HeaderValue {
    let secure = match state.public_url.scheme() {
        "https" => "; Secure",
        _ => "",
    };
    let lifetime = state.config.registration.lifetime.whole_seconds();
    let name = cookie_name(state);
    let value = format!("{name}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={lifetime}{secure}");
    HeaderValue::try_from(value).expect("a UUID is a cookie's value")
}

fn was_begun_here(state: &State, headers: &HeaderMap, id: Uuid) -> bool {
    let expected = format!("{}={id}", cookie_name(state));
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.any(|pair| pair.trim() == expected)
}

#[derive(Deserialize)]
pub(super) struct Params {
    id: Uuid,
    #[serde(default)]
    code: String,
}

pub(super) async fn page(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    headers: HeaderMap,
    Query(params): Query<Params>,
) -> Response {
    Page {
        l: language,
        id: params.id,
        code: params.code,
        elsewhere: !was_begun_here(&state, &headers, params.id),
        by_password: state.config.password_sign_in,
        wrong: Wrong::default(),
    }
    .answer()
}

#[derive(Deserialize)]
pub(super) struct VerifyForm {
    id: Uuid,
    code: Secret,
    password: Option<Secret>,
}

#[tracing::instrument(name = "identity.page.verify", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    headers: HeaderMap,
    Form(form): Form<VerifyForm>,
) -> Result<Response, Error> {
    let elsewhere = !was_begun_here(&state, &headers, form.id);
    match verify(
        &state,
        elsewhere,
        form.id,
        &form.code,
        filled(form.password),
    )
    .await
    {
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
                elsewhere,
                by_password: state.config.password_sign_in,
                wrong,
            }
            .answer())
        }
    }
}

async fn verify(
    state: &State,
    elsewhere: bool,
    id: Uuid,
    code: &Secret,
    password: Option<Secret>,
) -> Result<HeaderValue, Error> {
    if elsewhere && password.is_none() && state.config.password_sign_in {
        let errors = vec![FieldError::new(
            "/password",
            "must have at least 8 characters",
        )];
        return Err(Error::Invalid(errors));
    }
    let password = password.filter(|_| elsewhere);
    let now = state.db.world().now();
    let (mut tx, holder) = prove(state, id, code, password.as_ref()).await?;
    let cookie = session::begin(state, &mut tx, holder, now).await?;
    tx.commit().await?;
    Ok(cookie)
}
