//! What of the log is asked for: by the search box, by parameters, or both.

use kernel::Problem;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use utoipa::IntoParams;

use super::filters::Checks;
use crate::{
    domain::{
        level::Level,
        query::{Query, Term, What},
        range::TimeRange,
    },
    store::record_search::Filter,
};

/// Every search has a range: this much, unless told.
const DEFAULT_RANGE: Duration = Duration::DAY;
/// Records of another process may be ahead of this one's clock, by as much as is stored.
const MAX_AHEAD: Duration = Duration::DAY;

/// All of it must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogFilterParams {
    /// As in the search box: `level:warn service:identity trace:<id> "a phrase" -word user.id=7
    /// after:15m before:2026-05-02T12:00:00Z`. Words occur in the message or in the fields, whatever the
    /// case; `-` says that they do not. Up to 1024 characters and 16 terms.
    q: Option<String>,
    /// The module, or the host; of records from outside, the service: `shop`, `shop/checkout`.
    service: Option<String>,
    /// This level and what matters more.
    level: Option<Level>,
    /// Written at or after (RFC 3339); a day before `to` unless told.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Written before (RFC 3339); no bound unless told.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// Occurs in the message or in the fields, whatever the case; 1 to 256 characters.
    text: Option<String>,
    /// 32 lowercase hexadecimal digits.
    trace_id: Option<String>,
}

/// What to look for, and where.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) filter: Filter,
    pub(super) range: TimeRange,
}

impl LogFilterParams {
    /// Of a search box beside a choice of how far back. What the box says of times goes before.
    pub(super) fn of_page(
        q: &str,
        level: Option<Level>,
        length: Duration,
        now: OffsetDateTime,
    ) -> Self {
        let query = Query::parse(q, now).unwrap_or_default();
        let timeless = query.after.is_none() && query.before.is_none();
        Self {
            q: Some(q.to_owned()),
            level,
            from: timeless.then(|| now.saturating_sub(length)),
            ..Self::default()
        }
    }

    /// Tells of all that is wrong together.
    pub(super) fn read(
        self,
        now: OffsetDateTime,
        retention_days: i32,
        mut checks: Checks,
    ) -> Result<Search, Problem> {
        let q = self.q.unwrap_or_default();
        let query = Query::parse(&q, now).unwrap_or_else(|error| {
            checks.refuse("q", error.to_string());
            Query::default()
        });
        let mut terms = query.terms;
        let mut must = |what| {
            terms.push(Term {
                negated: false,
                what,
            });
        };
        if let Some(service) = checks.text("service", self.service, 128) {
            must(What::Service(service));
        }
        if let Some(id) = checks.trace_id("trace_id", self.trace_id.as_deref()) {
            must(What::Trace(id));
        }
        if let Some(text) = checks.text("text", self.text, 256) {
            must(What::Text(text));
        }
        let to = query.before.into_iter().chain(self.to).min();
        let from = query.after.into_iter().chain(self.from).max();
        let from = from.unwrap_or(to.unwrap_or(now).saturating_sub(DEFAULT_RANGE));
        let to = to.unwrap_or(now + MAX_AHEAD);
        if from >= to {
            checks.refuse("from", "must be before to");
        }
        checks.done()?;
        // Nothing older is kept, and nothing newer stored.
        let kept = now.saturating_sub(Duration::days(i64::from(retention_days) + 1));
        Ok(Search {
            filter: Filter {
                level: query.level.max(self.level),
                terms,
            },
            range: TimeRange {
                from: from.clamp(kept, now + MAX_AHEAD),
                to: to.clamp(kept, now + MAX_AHEAD),
            },
        })
    }
}
