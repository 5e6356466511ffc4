//! What the suites of this crate stand on: two modules, instances that host them, a PostgreSQL and a
//! NATS server for the run. Nothing here knows what is tested.

pub(crate) mod broker;
pub(crate) mod buses;
pub(crate) mod case;
pub(crate) mod cluster;
pub(crate) mod instance;
pub(crate) mod language;
pub(crate) mod probe;
pub(crate) mod transport;
