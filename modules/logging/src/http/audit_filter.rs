//! What of the audit trail is asked for.

use kernel::{Problem, event::family_of};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;

use super::filters::Checks;
use crate::store::audit::Filter;

/// All of it must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditFilterParams {
    /// Who did it: `user:<id>`, `service:<id>` or `system`.
    pub(super) actor: Option<String>,
    /// An event type, with its version or, for all versions, without.
    pub(super) action: Option<String>,
    /// What it was done to: the event's subject.
    pub(super) target: Option<String>,
    /// 32 lowercase hexadecimal digits.
    pub(super) trace_id: Option<String>,
    /// Occurs in the data, the action, the actor or the target, whatever the case; 1 to 256 characters.
    pub(super) text: Option<String>,
    /// Happened at or after (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) from: Option<OffsetDateTime>,
    /// Happened before (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) to: Option<OffsetDateTime>,
}

impl AuditFilterParams {
    /// Tells of all that is wrong together.
    pub(super) fn read(self, mut checks: Checks) -> Result<Filter, Problem> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            checks.refuse("from", "must be before to");
        }
        // What PostgreSQL can hold.
        for (name, time) in [("from", self.from), ("to", self.to)] {
            if time.is_some_and(|time| time.year() < 1) {
                checks.refuse(name, "must be after the year 0");
            }
        }
        let (action_stem, action) = match checks.text("action", self.action, 128) {
            Some(action) => versions_of(action),
            None => (None, None),
        };
        let filter = Filter {
            actor: checks.text("actor", self.actor, 256),
            action_stem,
            action,
            target: checks.text("target", self.target, 256),
            trace_id: checks.trace_id("trace_id", self.trace_id.as_deref()),
            text: checks.text("text", self.text, 256),
            from: self.from,
            to: self.to,
        };
        checks.done()?;
        Ok(filter)
    }
}

/// What to look for in the index of types up to the version's number, and the type itself if one
/// version is asked for.
fn versions_of(action: String) -> (Option<String>, Option<String>) {
    let family = family_of(&action);
    let stem = Some(format!("{family}.v"));
    if family.len() == action.len() {
        (stem, None)
    } else {
        (stem, Some(action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_without_version_stands_for_all_of_them() {
        let stem = Some("identity.user.registered.v".to_owned());
        assert_eq!(
            versions_of("identity.user.registered".into()),
            (stem.clone(), None)
        );
        let one = "identity.user.registered.v12".to_owned();
        assert_eq!(versions_of(one.clone()), (stem, Some(one)));
    }
}
