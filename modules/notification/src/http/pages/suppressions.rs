//! `/admin/mails/suppressions`: addresses that are spared mail.

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{
    Form, Fragment, Language, PagedQuery, Path, Problem,
    form::{see_other, with_query},
    html,
    page::Page as Paged,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    State,
    http::operations::{before, key, lift_suppression},
    store::suppressions::{self, Row},
};

pub(super) const PATH: &str = "/admin/mails/suppressions";

#[derive(Template)]
#[template(path = "pages/suppressions.html")]
struct Page {
    address: String,
    lifted: bool,
    rows: Vec<Row>,
    older: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Params {
    address: String,
    lifted: String,
}

#[tracing::instrument(name = "notification.page.suppressions", skip_all)]
pub(super) async fn page(
    Shared(state): Shared<State>,
    PagedQuery(params, paging): PagedQuery<Params>,
) -> Result<Response, Problem> {
    let (limit, before) = (paging.limit()?, before(&paging)?);
    let address = params.address.trim().to_owned();
    let wanted = Some(&*address).filter(|address| !address.is_empty());
    let mut conn = state.db.pool().acquire().await?;
    let rows = suppressions::list(&mut conn, wanted, before, limit + 1).await?;
    drop(conn);
    let key = |row: &Row| key(row.created_at, row.id);
    let paged = Paged::from_rows(rows, limit, key, |row| row);
    let link = |cursor: String| with_query(PATH, &[("address", &address), ("cursor", &cursor)]);
    let page = Page {
        older: paged.next_cursor.map(link),
        lifted: !params.lifted.is_empty(),
        rows: paged.items,
        address,
    };
    Ok(Fragment::page("Suppressed addresses", Language::En, &page))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

#[tracing::instrument(name = "notification.page.lift_suppression", skip_all)]
pub(super) async fn lift(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Problem> {
    lift_suppression::lift(&state, id).await?;
    Ok(see_other("/admin/mails/suppressions?lifted=yes"))
}
