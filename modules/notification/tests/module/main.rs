//! The module as its host and the others see it: on a real database and the real bus, with events
//! going in and rows, mails and streams coming out.

mod codes;
mod deliveries;
mod notices;
mod notifications;
mod operations;
mod preferences;
mod send;
mod stream;
mod support;
mod suppressions;
