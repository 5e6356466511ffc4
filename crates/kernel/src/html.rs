//! What templates of several modules write alike.

use time::{OffsetDateTime, UtcOffset, macros::format_description};

/// A time in UTC, which a script shows in the viewer's zone and words.
pub fn time(at: &OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    let machine = at.format(format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second]Z"
    ));
    let people = at.format(format_description!(
        "[year]-[month]-[day] [hour]:[minute] UTC"
    ));
    format!(
        "<time datetime=\"{}\">{}</time>",
        machine.unwrap_or_default(),
        people.unwrap_or_default()
    )
}
