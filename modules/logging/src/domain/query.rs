//! What people write into the search box.
//!
//! ```text
//! level:warn                this level and what matters more
//! service:identity          the service, as a whole
//! trace:4bf92f35…           32 hexadecimal digits
//! after:15m  after:2026-05-02  after:2026-05-02T12:00:00Z     and `before:` alike
//! user.id=7  status="not found"     a field, by its path
//! timeout  "a phrase"       occurs in the message or in the fields, whatever the case
//! -word  -service:identity  not
//! ```
//!
//! All of it must hold. Words before a colon that stand for nothing here are refused and not looked
//! for: a misspelt filter would otherwise find nothing, or everything.

use time::{
    Date, Duration, OffsetDateTime, format_description::well_known::Rfc3339,
    macros::format_description,
};
use uuid::Uuid;

use super::{level::Level, trace};

pub(crate) const MAX_CHARS: usize = 1_024;
/// Each costs something for every record that is looked at.
const MAX_TERMS: usize = 16;
const MAX_PATH: usize = 8;

/// Why what was written cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("has more than {MAX_CHARS} characters")]
    TooLong,
    #[error("has more than {MAX_TERMS} terms")]
    TooMany,
    #[error("must not hold the character U+0000")]
    Nul,
    #[error("has a quotation mark without its partner")]
    OpenQuote,
    #[error("has nothing after {0:?}")]
    Empty(String),
    #[error("{0:?} is no level: trace, debug, info, warn or error")]
    Level(String),
    #[error("{0:?} is no trace id: 32 hexadecimal digits")]
    Trace(String),
    #[error("{0:?} is no time: 15m, 2h, 7d, 2026-05-02 or 2026-05-02T12:00:00Z")]
    Time(String),
    #[error(
        "{0:?} is not known: level, service, trace, after or before; put what holds a colon in \
         quotation marks"
    )]
    Unknown(String),
    #[error("{0:?} cannot be turned round with a minus sign")]
    Negated(String),
    #[error("{0:?} is no path of a field")]
    Path(String),
}

/// What a record must be, or must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) negated: bool,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Text(String),
    Service(String),
    Trace(Uuid),
    /// A path such as `user.id`, which is a field of this name or one within another.
    Field {
        path: String,
        value: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) terms: Vec<Term>,
    pub(crate) level: Option<Level>,
    pub(crate) after: Option<OffsetDateTime>,
    pub(crate) before: Option<OffsetDateTime>,
}

impl Query {
    /// `now` is what `15m` counts from.
    pub(crate) fn parse(text: &str, now: OffsetDateTime) -> Result<Self, QueryError> {
        if text.chars().count() > MAX_CHARS {
            return Err(QueryError::TooLong);
        }
        if text.contains('\0') {
            return Err(QueryError::Nul);
        }
        let mut query = Self::default();
        let mut rest = text.trim_start();
        let mut count = 0;
        while !rest.is_empty() {
            count += 1;
            if count > MAX_TERMS {
                return Err(QueryError::TooMany);
            }
            let (word, after) = Word::take(rest)?;
            query.add(word, now)?;
            rest = after.trim_start();
        }
        Ok(query)
    }

    fn add(&mut self, word: Word, now: OffsetDateTime) -> Result<(), QueryError> {
        let Word {
            negated,
            key,
            value,
        } = word;
        let Some((key, sign)) = key else {
            if value.is_empty() {
                return Err(QueryError::Empty(if negated { "-" } else { "\"" }.into()));
            }
            return self.must(negated, What::Text(value));
        };
        let shown = format!("{key}{sign}");
        if value.is_empty() {
            return Err(QueryError::Empty(shown));
        }
        if sign == '=' {
            let parts = key.split('.');
            if key.is_empty() || parts.count() > MAX_PATH {
                return Err(QueryError::Path(key));
            }
            return self.must(negated, What::Field { path: key, value });
        }
        match &*key {
            "service" => self.must(negated, What::Service(value)),
            "trace" => match trace::parse_trace_id(&value.to_ascii_lowercase()) {
                Some(id) => self.must(negated, What::Trace(id)),
                None => Err(QueryError::Trace(value)),
            },
            "level" | "after" | "before" if negated => Err(QueryError::Negated(shown)),
            "level" => {
                let level = Level::parse(&value).ok_or(QueryError::Level(value))?;
                self.level = self.level.max(Some(level));
                Ok(())
            }
            "after" => {
                let at = time(&value, now)?;
                self.after = self.after.max(Some(at));
                Ok(())
            }
            "before" => {
                let at = time(&value, now)?;
                self.before = Some(self.before.map_or(at, |before| before.min(at)));
                Ok(())
            }
            _ => Err(QueryError::Unknown(key)),
        }
    }

    fn must(&mut self, negated: bool, what: What) -> Result<(), QueryError> {
        self.terms.push(Term { negated, what });
        Ok(())
    }
}

/// A part of the query: `-key:"value"`.
struct Word {
    negated: bool,
    key: Option<(String, char)>,
    value: String,
}

impl Word {
    /// The first of the text, which is not empty and begins with it, and what follows.
    fn take(text: &str) -> Result<(Self, &str), QueryError> {
        let (negated, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let end = |c: char| c.is_whitespace() || matches!(c, ':' | '=' | '"');
        let (key, text) = match text.find(end) {
            Some(at) if text[at..].starts_with([':', '=']) => {
                let sign = text[at..].chars().next().unwrap_or(':');
                (Some((text[..at].to_owned(), sign)), &text[at + 1..])
            }
            _ => (None, text),
        };
        let (value, text) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let at = text.find(char::is_whitespace).unwrap_or(text.len());
                (text[..at].to_owned(), &text[at..])
            }
        };
        let word = Self {
            negated,
            key,
            value,
        };
        Ok((word, text))
    }
}

/// Up to the quotation mark; `\"` and `\\` stand for themselves.
fn unquote(text: &str) -> Result<(String, &str), QueryError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => return Err(QueryError::OpenQuote),
            },
            c => value.push(c),
        }
    }
    Err(QueryError::OpenQuote)
}

/// So long ago, a day (UTC), or a moment.
fn time(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, QueryError> {
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u32 = number.parse().ok()?;
        let unit = match unit {
            "s" => Duration::SECOND,
            "m" => Duration::MINUTE,
            "h" => Duration::HOUR,
            "d" => Duration::DAY,
            _ => return None,
        };
        now.checked_sub(unit.checked_mul(i32::try_from(number).ok()?)?)
    };
    let day = || {
        let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(day.midnight().assume_utc())
    };
    let moment = || OffsetDateTime::parse(text, &Rfc3339).ok();
    let found = ago().or_else(day).or_else(moment);
    // What PostgreSQL can hold.
    found
        .filter(|time| (1..=9_999).contains(&time.year()))
        .ok_or_else(|| QueryError::Time(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-05-02 12:00 UTC);

    fn parse(text: &str) -> Result<Query, QueryError> {
        Query::parse(text, NOW)
    }

    fn terms(text: &str) -> Vec<(bool, What)> {
        let query = parse(text).unwrap();
        query
            .terms
            .into_iter()
            .map(|term| (term.negated, term.what))
            .collect()
    }

    #[test]
    fn what_is_written_is_what_is_looked_for() {
        let text = |text: &str| What::Text(text.to_owned());
        let field = |path: &str, value: &str| What::Field {
            path: path.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(
            terms(r#"timeout -retry "a \"b\" \\ c:d" -"not this""#),
            [
                (false, text("timeout")),
                (true, text("retry")),
                (false, text(r#"a "b" \ c:d"#)),
                (true, text("not this")),
            ]
        );
        assert_eq!(
            terms(r#"service:shop/till -service:"odd one" user.id=7 -path="/a b""#),
            [
                (false, What::Service("shop/till".into())),
                (true, What::Service("odd one".into())),
                (false, field("user.id", "7")),
                (true, field("path", "/a b")),
            ]
        );
        let trace = "4BF92F3577B34DA6A3CE929D0E0E4736";
        let id = trace::parse_trace_id(&trace.to_lowercase()).unwrap();
        assert_eq!(terms(&format!("trace:{trace}")), [(false, What::Trace(id))]);
        assert_eq!(terms("  "), []);
    }

    #[test]
    fn times_are_ago_days_or_moments_and_the_narrowest_counts() {
        let query = parse("after:15m after:1h before:2026-05-03 before:2026-05-02T13:00:00+01:00");
        let query = query.unwrap();
        assert_eq!(query.after, Some(NOW - Duration::minutes(15)));
        assert_eq!(query.before, Some(NOW));
        assert_eq!(
            parse("level:info level:error level:WARN").unwrap().level,
            Some(Level::Error)
        );
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, error) in [
            ("a\0b", QueryError::Nul),
            ("\"open", QueryError::OpenQuote),
            ("\"open\\", QueryError::OpenQuote),
            ("level:loud", QueryError::Level("loud".into())),
            ("levle:warn", QueryError::Unknown("levle".into())),
            ("service:", QueryError::Empty("service:".into())),
            ("-", QueryError::Empty("-".into())),
            ("\"\"", QueryError::Empty("\"".into())),
            ("=7", QueryError::Path(String::new())),
            ("trace:7", QueryError::Trace("7".into())),
            ("-after:1h", QueryError::Negated("after:".into())),
            ("after:soon", QueryError::Time("soon".into())),
            ("after:9999999999d", QueryError::Time("9999999999d".into())),
            ("after:2147483647d", QueryError::Time("2147483647d".into())),
            (
                "after:-0001-01-01T00:00:00Z",
                QueryError::Time("-0001-01-01T00:00:00Z".into()),
            ),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(parse(&"x".repeat(1_025)), Err(QueryError::TooLong));
        assert_eq!(parse(&"x ".repeat(17)), Err(QueryError::TooMany));
    }

    proptest! {
        #[test]
        fn nothing_written_makes_it_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_text_can_be_looked_for_in_quotation_marks(text in "[^\0]{1,100}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(terms(&quoted), [(false, What::Text(text))]);
        }
    }
}
