//! Timed work.

mod remove_unused_avatars;

pub(crate) use self::remove_unused_avatars::job as remove_unused_avatars;
