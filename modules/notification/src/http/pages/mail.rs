//! `/admin/mails/{id}`: one delivery, each try, and what can be done.

use askama::Template;
use axum::{extract::State as Shared, http::StatusCode, response::Response};
use kernel::{Form, Fragment, Language, Path, Problem, Query, form::see_other, html};
use serde::Deserialize;
use uuid::Uuid;

use super::mails::tone;
use crate::{
    State,
    http::operations::{
        get_delivery::{DeliveryDetail, find},
        give_up_delivery, retry_delivery,
    },
};

#[derive(Template)]
#[template(path = "pages/mail.html")]
struct Page {
    detail: DeliveryDetail,
    done: Option<Done>,
    alert: Option<String>,
}

/// What was just done.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Done {
    Retry,
    GiveUp,
}

impl Page {
    fn answer(self, status: StatusCode) -> Response {
        Fragment::with_status(status, "Mail", Language::En, &self)
    }

    fn tone(&self, state: &str) -> &'static str {
        tone(state)
    }

    fn can_retry(&self) -> bool {
        ["queued", "failed", "suppressed"].contains(&&*self.detail.delivery.status)
    }

    fn can_give_up(&self) -> bool {
        self.detail.delivery.status == "queued"
    }
}

#[derive(Deserialize)]
pub(super) struct Params {
    done: Option<Done>,
}

#[tracing::instrument(name = "notification.page.mail", skip_all)]
pub(super) async fn page(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let page = Page {
        detail: find(&state, id).await?,
        done: params.done,
        alert: None,
    };
    Ok(page.answer(StatusCode::OK))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

#[tracing::instrument(name = "notification.page.retry_mail", skip_all, fields(delivery.id = %id))]
pub(super) async fn retry(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Problem> {
    let done = retry_delivery::retry(&state, id).await;
    answer(&state, id, done, "retry").await
}

#[tracing::instrument(name = "notification.page.give_up_mail", skip_all, fields(delivery.id = %id))]
pub(super) async fn give_up(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Problem> {
    let done = give_up_delivery::give_up(&state, id).await;
    answer(&state, id, done, "give-up").await
}

/// The page again, which says what was done, or why not: it may have gone out meanwhile.
async fn answer(
    state: &State,
    id: Uuid,
    done: Result<(), Problem>,
    what: &str,
) -> Result<Response, Problem> {
    match done {
        Ok(()) => Ok(see_other(&format!("/admin/mails/{id}?done={what}"))),
        Err(problem) if problem.status == StatusCode::CONFLICT => {
            let page = Page {
                detail: find(state, id).await?,
                done: None,
                alert: problem.detail,
            };
            Ok(page.answer(StatusCode::CONFLICT))
        }
        Err(problem) => Err(problem),
    }
}
