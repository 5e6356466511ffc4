//! `GET /dev/mailbox`.

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Fragment, Language, Problem, Query, html};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::mailbox;
use crate::{
    State,
    store::{self, mailbox::Kept},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailboxParams {
    /// The mail to show.
    message: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct MailboxPage<'a> {
    product: &'a str,
    mails: Vec<Kept>,
    shown: Option<Kept>,
}

impl MailboxPage<'_> {
    fn is_shown(&self, mail: &Kept) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.id == mail.id)
    }
}

/// The development mailbox, to look at.
#[utoipa::path(
    get,
    path = "/dev/mailbox",
    operation_id = "get_mailbox_page",
    params(MailboxParams),
    responses(
        (status = 200, description = "A page", content_type = "text/html", body = String),
        (status = 404, description = "Not in development, or mail goes to a real server",
            body = Problem),
        (status = 422, description = "`message` is not an id", body = Problem),
        (status = 503, description = "The database is busy", body = Problem),
    )
)]
pub(crate) async fn mailbox_page(
    Shared(state): Shared<State>,
    Query(params): Query<MailboxParams>,
) -> Result<Response, Problem> {
    mailbox::check(&state)?;
    let mut conn = state.db.pool().acquire().await?;
    let mails = store::mailbox::newest(&mut conn, mailbox::LIMIT).await?;
    let shown = match params.message {
        Some(id) => store::mailbox::find(&mut conn, id).await?,
        None => None,
    };
    drop(conn);
    let page = MailboxPage {
        product: &state.frame.product,
        mails,
        shown,
    };
    Ok(Fragment::page("Mailbox", Language::En, &page))
}
