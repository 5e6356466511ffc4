//! The cases. None of them knows which transport it is about.

pub(crate) mod backlog;
pub(crate) mod broadcasts;
pub(crate) mod delivery;
pub(crate) mod duplicates;
pub(crate) mod failures;
pub(crate) mod hints;
pub(crate) mod instances;
pub(crate) mod losses;
pub(crate) mod order;
pub(crate) mod privileges;
pub(crate) mod replays;
pub(crate) mod starts;
pub(crate) mod versions;
