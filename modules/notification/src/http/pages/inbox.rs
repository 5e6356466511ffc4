//! `/account/notifications`: what one was told, and what one wants to be told.

use askama::Template;
use axum::{extract::State as Shared, http::StatusCode, response::Response};
use kernel::{
    Form, Fragment, Hint, Language, PagedQuery, Path, Problem, Text,
    etag::Condition,
    form::{see_other, with_query},
    html,
    page::{Page as Paged, PageParams},
    principal::CurrentUser,
};
use serde::Deserialize;
use uuid::Uuid;

use super::texts;
use crate::{
    State,
    domain::{Category, Channel, Preferences},
    http::{
        preferences::{
            etag,
            patch_preferences::{ChannelsPatch, PatchPreferencesRequest, patch},
        },
        read_notification::mark_read,
        view::{NotificationView, Words},
    },
    live::INBOX_TOPIC,
    store,
};

pub(super) const PATH: &str = "/account/notifications";

/// Fewer than a program gets: each has some lines.
const LIMIT: u32 = 20;

#[derive(Template)]
#[template(path = "pages/inbox.html")]
struct Page {
    l: Language,
    status: StatusCode,
    alert: Option<Text>,
    saved: bool,
    unread: i64,
    items: Vec<NotificationView>,
    /// The newest that is shown; on later pages nothing, for there are newer ones.
    newest: Option<i64>,
    /// Of this page.
    cursor: String,
    older: Option<String>,
    preferences: Preferences,
    /// Of the preferences that are edited.
    version: String,
}

struct Row {
    category: Category,
    title: Text,
    note: Text,
}

impl Page {
    fn answer(self) -> Response {
        let title = texts::NOTIFICATIONS.of(&self.l);
        Fragment::with_status(self.status, title, self.l, &self)
    }

    fn rows(&self) -> [Row; 3] {
        Category::ALL.map(|category| {
            let (title, note) = match category {
                Category::Security => (texts::SECURITY, texts::SECURITY_NOTE),
                Category::Account => (texts::ACCOUNT, texts::ACCOUNT_NOTE),
                Category::Product => (texts::PRODUCT, texts::PRODUCT_NOTE),
            };
            Row {
                category,
                title,
                note,
            }
        })
    }

    fn channels(&self) -> [(Channel, Text); 2] {
        [
            (Channel::Email, texts::BY_MAIL),
            (Channel::InApp, texts::IN_APP),
        ]
    }

    fn allows(&self, row: &Row, channel: &Channel) -> bool {
        self.preferences.allow(row.category, *channel)
    }
}

async fn present(
    state: &State,
    l: Language,
    caller: CurrentUser,
    params: &PageParams,
) -> Result<Page, Problem> {
    let limit = i64::from(LIMIT);
    let before = params.cursor::<i64>()?;
    let mut conn = state.db.pool().acquire().await?;
    let mut inbox = store::notifications::before(&mut conn, caller.id, before, limit + 1).await?;
    let preferences = store::preferences::find(&mut conn, caller.id).await?;
    drop(conn);
    let rows = std::mem::take(&mut inbox.items);
    let words = Words::of(&inbox, &state.frame);
    let paged = Paged::from_rows(rows, limit, |row| row.number, |row| words.view(row));
    let items: Vec<_> = paged.items.into_iter().collect::<Result<_, _>>()?;
    let tag = etag(caller.id, preferences.version);
    let older = paged.next_cursor;
    Ok(Page {
        l,
        status: StatusCode::OK,
        alert: None,
        saved: false,
        unread: inbox.unread_count,
        newest: items.first().map(|item| item.number),
        items,
        cursor: params.cursor.clone().unwrap_or_default(),
        older: older.map(|cursor| with_query(PATH, &[("cursor", &cursor)])),
        preferences: preferences.preferences,
        version: tag.to_str().expect("hex digits and quotes").to_owned(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    saved: Option<String>,
}

#[tracing::instrument(name = "notification.page.inbox", skip_all, fields(user.id = %caller.id))]
pub(super) async fn page(
    Shared(state): Shared<State>,
    language: Language,
    caller: CurrentUser,
    PagedQuery(params, paging): PagedQuery<Params>,
) -> Result<Response, Problem> {
    let page = Page {
        saved: params.saved.is_some(),
        ..present(&state, language, caller, &paging).await?
    };
    Ok(page.answer())
}

/// What is ticked; a box that is not is not sent.
#[derive(Deserialize)]
pub(super) struct PreferencesForm {
    version: String,
    #[serde(rename = "security.in_app")]
    security_in_app: Option<String>,
    #[serde(rename = "account.email")]
    account_email: Option<String>,
    #[serde(rename = "account.in_app")]
    account_in_app: Option<String>,
    #[serde(rename = "product.email")]
    product_email: Option<String>,
    #[serde(rename = "product.in_app")]
    product_in_app: Option<String>,
}

impl PreferencesForm {
    /// The edit that an API's client would send. Of security, mails stay as they are: on.
    fn to_request(&self) -> PatchPreferencesRequest {
        let channels = |email: Option<&Option<String>>, in_app: &Option<String>| ChannelsPatch {
            email: email.map(Option::is_some),
            in_app: Some(in_app.is_some()),
        };
        PatchPreferencesRequest {
            security: channels(None, &self.security_in_app),
            account: channels(Some(&self.account_email), &self.account_in_app),
            product: channels(Some(&self.product_email), &self.product_in_app),
        }
    }
}

#[tracing::instrument(name = "notification.page.save_preferences", skip_all,
    fields(user.id = %caller.id))]
pub(super) async fn save_preferences(
    Shared(state): Shared<State>,
    language: Language,
    caller: CurrentUser,
    Form(form): Form<PreferencesForm>,
) -> Result<Response, Problem> {
    let condition = Condition::Tags(vec![form.version.clone()]);
    match patch(&state, caller.id, &condition, &form.to_request()).await {
        Ok(_) => Ok(see_other("/account/notifications?saved=yes")),
        Err(problem) if problem.status == StatusCode::PRECONDITION_FAILED => {
            let page = Page {
                status: StatusCode::CONFLICT,
                alert: Some(texts::CHANGED),
                ..present(&state, language, caller, &PageParams::default()).await?
            };
            Ok(page.answer())
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Deserialize)]
pub(super) struct ReadForm {
    /// Of the page that it was on.
    #[serde(default)]
    cursor: String,
}

#[tracing::instrument(name = "notification.page.read", skip_all, fields(user.id = %caller.id))]
pub(super) async fn read(
    Shared(state): Shared<State>,
    caller: CurrentUser,
    Path(id): Path<Uuid>,
    Form(form): Form<ReadForm>,
) -> Result<Response, Problem> {
    mark_read(&state, caller.id, id).await?;
    Ok(see_other(&with_query(PATH, &[("cursor", &form.cursor)])))
}

#[derive(Deserialize)]
pub(super) struct ReadAllForm {
    /// The newest that was shown: what came after it was not seen.
    until: i64,
}

#[tracing::instrument(name = "notification.page.read_all", skip_all, fields(user.id = %caller.id))]
pub(super) async fn read_all(
    Shared(state): Shared<State>,
    caller: CurrentUser,
    Form(form): Form<ReadAllForm>,
) -> Result<Response, Problem> {
    let now = state.db.world().now();
    let mut conn = state.db.pool().acquire().await?;
    let marked = store::notifications::mark_all_read(&mut conn, caller.id, form.until, now).await?;
    if marked > 0 {
        // The person's other screens show how many are unread.
        state.db.bus().hint(Hint {
            topic: INBOX_TOPIC.to_owned(),
            key: caller.id.to_string(),
        });
    }
    Ok(see_other(PATH))
}
