//! What the three routes of the development mailbox share.

use kernel::Problem;

use crate::State;

/// Shown at a time.
pub(super) const LIMIT: i64 = 200;

/// Everybody's mail, for anybody: only in development, and only while no mail really leaves.
pub(super) fn check(state: &State) -> Result<(), Problem> {
    if state.has_mailbox {
        Ok(())
    } else {
        Err(Problem::not_found())
    }
}
