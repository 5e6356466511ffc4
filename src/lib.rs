//! The host: it knows every module and holds no business rule.
//!
//! [`cli`] reads the command line, [`config`] the configuration; [`app`] puts together what modules
//! share and starts each; [`supervisor`] and [`work`] keep them running; [`module_move`] takes one to
//! another database; [`gateway`] is the one
//! front door, [`operations`] the back door for those who run it; [`shipping`] sends the log records of a process without the module logging to the one
//! that has it. The list of modules is in [`modules`], and nowhere else.

pub mod app;
pub mod cli;
pub mod config;
pub mod events;
pub mod gateway;
pub mod http_client;
pub mod jwks;
pub mod keys;
pub mod module_move;
pub mod modules;
pub mod operations;
pub mod pages;
pub mod places;
pub mod secrets;
pub mod serve;
pub mod service_token;
pub mod shipping;
pub mod supervisor;
pub mod telemetry;
pub mod work;
