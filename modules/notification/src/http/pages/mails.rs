//! `/admin/mails`: messages and what became of them.

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{
    FieldError, Fragment, Language, PagedQuery, Problem, UserId,
    form::{Wrong, with_query},
    html,
    page::Page as Paged,
};
use serde::Deserialize;
use time::{Duration, OffsetDateTime, PrimitiveDateTime, macros::format_description};
use uuid::Uuid;

use crate::{
    State,
    http::operations::{DeliverySummary, before, key},
    mail::templates,
    store::operations::{self, Filter},
};

pub(super) const PATH: &str = "/admin/mails";

const STATES: [&str; 7] = [
    "queued",
    "sending",
    "sent",
    "failed",
    "expired",
    "muted",
    "suppressed",
];

/// How far back is counted.
const COUNTED: Duration = Duration::hours(24);

#[derive(Template)]
#[template(path = "pages/mails.html")]
struct Page {
    l: Language,
    filter: Params,
    wrong: Wrong,
    counts: Vec<(String, i64)>,
    templates: Vec<String>,
    deliveries: Vec<DeliverySummary>,
    older: Option<String>,
    /// Not the newest: there is a way back.
    newest: Option<String>,
}

/// As the address has them; what is empty restricts nothing.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Params {
    state: String,
    /// An address, or the id of an account.
    to: String,
    template: String,
    /// UTC, as a field of a browser says it: `2026-01-02T03:04`.
    from: String,
    until: String,
}

impl Params {
    fn link(&self, cursor: &str) -> String {
        let Self {
            state,
            to,
            template,
            from,
            until,
        } = self;
        let pairs = [
            ("state", &**state),
            ("to", to),
            ("template", template),
            ("from", from),
            ("until", until),
            ("cursor", cursor),
        ];
        with_query(PATH, &pairs)
    }

    fn parse(&self) -> Result<Filter<'_>, Wrong> {
        let mut wrong = Vec::new();
        let mut time = |field: &str, text: &str| {
            let format = format_description!("[year]-[month]-[day]T[hour]:[minute]");
            let at = PrimitiveDateTime::parse(text, format);
            if !text.is_empty() && at.is_err() {
                wrong.push(FieldError::new(field, "Write it as 2026-01-02T03:04."));
            }
            at.ok().map(PrimitiveDateTime::assume_utc)
        };
        let (from, to) = (time("from", &self.from), time("until", &self.until));
        fn given(text: &str) -> Option<&str> {
            Some(text.trim()).filter(|text| !text.is_empty())
        }
        let user_id = Uuid::parse_str(self.to.trim()).ok();
        let filter = Filter {
            status: given(&self.state),
            user_id: user_id.map(UserId),
            address: given(&self.to).filter(|_| user_id.is_none()),
            template: given(&self.template),
            from,
            to,
        };
        if wrong.is_empty() {
            Ok(filter)
        } else {
            Err(Wrong::fields(wrong, |_| None))
        }
    }
}

impl Page {
    fn answer(self) -> Response {
        Fragment::with_status(self.wrong.status, "Mails", self.l, &self)
    }

    fn states(&self) -> [&'static str; 7] {
        STATES
    }

    fn tone(&self, state: &str) -> &'static str {
        tone(state)
    }

    /// Those of a state alone.
    fn of_state(&self, state: &str) -> String {
        with_query(PATH, &[("state", state)])
    }
}

/// How a state looks.
pub(super) fn tone(state: &str) -> &'static str {
    match state {
        "sent" => "good",
        "queued" | "sending" => "info",
        "failed" => "wrong",
        _ => "warn",
    }
}

#[tracing::instrument(name = "notification.page.mails", skip_all)]
pub(super) async fn page(
    Shared(state): Shared<State>,
    PagedQuery(params, paging): PagedQuery<Params>,
) -> Result<Response, Problem> {
    let (limit, before) = (paging.limit()?, before(&paging)?);
    let since: OffsetDateTime = state.db.world().now() - COUNTED;
    let mut conn = state.db.pool().acquire().await?;
    let (rows, wrong) = match params.parse() {
        Ok(filter) => {
            let rows = operations::list(&mut conn, &filter, before, limit + 1).await?;
            (rows, Wrong::default())
        }
        Err(wrong) => (Vec::new(), wrong),
    };
    let counts = operations::counts(&mut conn, since).await?;
    drop(conn);
    let key = |row: &operations::Row| key(row.created_at, row.id);
    let paged = Paged::from_rows(rows, limit, key, DeliverySummary::from);
    let all = templates(state.db.world(), &state.sealer).into_iter();
    let page = Page {
        l: Language::En,
        wrong,
        counts,
        templates: all.map(|(name, _)| name).collect(),
        deliveries: paged.items,
        older: paged.next_cursor.map(|cursor| params.link(&cursor)),
        newest: paging.cursor.map(|_| params.link("")),
        filter: params,
    };
    Ok(page.answer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_come_from_the_address_and_go_back_into_it() {
        let params = Params {
            to: " Ada@example.org ".to_owned(),
            from: "2026-01-02T03:04".to_owned(),
            ..Params::default()
        };
        let filter = params.parse().ok().unwrap();
        assert_eq!(filter.address, Some("Ada@example.org"));
        assert!(filter.user_id.is_none() && filter.status.is_none() && filter.to.is_none());
        assert_eq!(filter.from.unwrap().unix_timestamp(), 1_767_323_040);
        let id = "00000000-0000-7000-8000-000000000000";
        let params = Params {
            to: id.to_owned(),
            ..Params::default()
        };
        let filter = params.parse().ok().unwrap();
        assert!(filter.address.is_none() && filter.user_id.is_some());
        assert_eq!(params.link("abc"), format!("{PATH}?to={id}&cursor=abc"));
        let params = Params {
            until: "yesterday".to_owned(),
            ..Params::default()
        };
        let wrong = params.parse().err().unwrap();
        assert!(wrong.of("until", &Language::En).is_some());
        assert_eq!(wrong.status, 422);
    }
}
