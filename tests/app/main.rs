//! The application from outside: over HTTP, on a fresh database each, and as real processes.
//!
//! All in one binary, because each further one links everything again. A new test goes into the
//! file of its subject under `flows/`, or beside these.

mod analytics;
mod boundaries;
mod browser;
mod contracts;
mod cors;
mod edge;
mod faults;
mod flows;
mod keys;
mod limits;
mod module_move;
mod operations;
mod outside;
mod pictures;
mod places;
mod processes;
mod routes;
mod support;
mod tls;
