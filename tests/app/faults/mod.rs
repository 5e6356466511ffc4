//! Five real processes, and what may befall them. Seconds here; `make soak` gives it minutes.

mod broker;
mod hangs;
mod instances;
mod kills;
mod load;
mod outage;

use std::time::Duration;

/// How much of it: `BANYAN_TEST_SOAK=1` asks for minutes.
fn soak() -> bool {
    std::env::var("BANYAN_TEST_SOAK").is_ok_and(|value| value == "1")
}

/// Longer than anything takes; on a machine that is busy with other work, too.
const PATIENCE: Duration = Duration::from_secs(90);
