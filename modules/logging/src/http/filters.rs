//! Query parameters that several lists take.

use kernel::{FieldError, Problem};
use uuid::Uuid;

use crate::domain::trace;

/// Checks parameters one by one and tells of all that are wrong together.
#[derive(Default)]
pub(super) struct Checks {
    errors: Vec<FieldError>,
}

impl Checks {
    pub(super) fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// Text of 1 to `max` characters. PostgreSQL's text cannot hold U+0000.
    pub(super) fn text(
        &mut self,
        field: &str,
        value: Option<String>,
        max: usize,
    ) -> Option<String> {
        let value = value?;
        if value.is_empty() || value.chars().count() > max || value.contains('\0') {
            self.refuse(
                field,
                format!("must be 1 to {max} characters, none of them U+0000"),
            );
        }
        Some(value)
    }

    pub(super) fn trace_id(&mut self, field: &str, value: Option<&str>) -> Option<Uuid> {
        let value = value?;
        let id = trace::parse_trace_id(value);
        if id.is_none() {
            self.refuse(field, "must be 32 lowercase hexadecimal digits");
        }
        id
    }

    pub(super) fn done(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::validation(self.errors))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_together() {
        let mut checks = Checks::default();
        assert_eq!(checks.text("a", None, 3), None);
        assert_eq!(
            checks.text("b", Some("äöü".into()), 3).as_deref(),
            Some("äöü")
        );
        checks.text("c", Some("äöüß".into()), 3);
        checks.text("d", Some("\0".into()), 3);
        checks.text("e", Some(String::new()), 3);
        checks.trace_id("f", Some("xyz"));
        let problem = checks.done().unwrap_err();
        assert_eq!(problem.status, 422);
        let fields: Vec<_> = problem.errors.iter().map(|e| &*e.field).collect();
        assert_eq!(fields, ["c", "d", "e", "f"]);
    }
}
