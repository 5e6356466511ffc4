//! Timed and queued work.

mod deliver;
mod purge;

pub(crate) use self::{
    deliver::{Deliver, Sender},
    purge::jobs,
};
