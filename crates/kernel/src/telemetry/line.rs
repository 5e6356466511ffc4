//! Records as lines.

use std::{
    fmt::{self, Display, Write as _},
    io::Write as _,
};

use serde::{Deserialize, Serializer};
use serde_json::Value;
use tracing::Level;

use super::LogRecord;

/// How records look on a terminal.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For programs: an object with the members that a record has in the API.
    Json,
    /// For people.
    Pretty,
}

impl Format {
    /// Adds the record as a line.
    pub(super) fn write(self, record: &LogRecord, colours: bool, lines: &mut Vec<u8>) {
        let written = match self {
            Self::Json => serde_json::to_writer(&mut *lines, record).is_ok(),
            Self::Pretty => write!(lines, "{}", Pretty(record, colours)).is_ok(),
        };
        debug_assert!(written, "memory takes everything");
        lines.push(b'\n');
    }
}

/// As the API tells it.
pub(super) fn lowercase<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&level.as_str().to_ascii_lowercase())
}

/// With or without colours.
struct Pretty<'r>(&'r LogRecord, bool);

impl Display for Pretty<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(record, colours) = *self;
        let paint = |code| if colours { code } else { "" };
        let (dim, plain) = (paint("\x1b[2m"), paint("\x1b[0m"));
        let level = paint(match record.level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[34m",
        });
        let (hour, minute, second, milli) = record.time.to_hms_milli();
        write!(
            out,
            "{dim}{hour:02}:{minute:02}:{second:02}.{milli:03}Z{plain} {level}{:>5}{plain} {dim}{}:{plain} ",
            record.level, record.target
        )?;
        harmless(out, &record.message)?;
        for (name, value) in &record.fields {
            write!(out, " {dim}{name}={plain}")?;
            match value {
                Value::String(text) => harmless(out, text)?,
                value => write!(out, "{value}")?,
            }
        }
        match &record.trace_id {
            Some(trace_id) => write!(out, " {dim}trace_id={trace_id}{plain}"),
            None => Ok(()),
        }
    }
}

/// Whatever was sent to us must not move the cursor, nor look like another record.
fn harmless(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for character in text.chars() {
        match character {
            '\n' => out.write_str("\n        ")?,
            control if control.is_control() => write!(out, "{}", control.escape_default())?,
            character => out.write_char(character)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use time::macros::datetime;

    use super::*;

    fn record() -> LogRecord {
        LogRecord {
            time: datetime!(2026-11-21 10:20:30.456789 UTC),
            level: Level::WARN,
            service: "banyan".into(),
            target: "banyan::gateway".into(),
            message: "two\nlines, \x1b[2Jand no more".to_owned(),
            fields: Map::from_iter([("path".to_owned(), "/\u{9b}1m".into())]),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
            span_id: None,
        }
    }

    #[test]
    fn programs_read_what_the_api_tells() {
        let line = serde_json::to_value(record()).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "time": "2026-11-21T10:20:30.456789Z",
                "level": "warn",
                "service": "banyan",
                "target": "banyan::gateway",
                "message": "two\nlines, \x1b[2Jand no more",
                "fields": { "path": "/\u{9b}1m" },
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            })
        );
    }

    #[test]
    fn what_people_read_does_nothing_to_their_terminal() {
        assert_eq!(
            Pretty(&record(), false).to_string(),
            "10:20:30.456Z  WARN banyan::gateway: two\n        lines, \\u{1b}[2Jand no more \
             path=/\\u{9b}1m trace_id=4bf92f3577b34da6a3ce929d0e0e4736"
        );
    }
}
