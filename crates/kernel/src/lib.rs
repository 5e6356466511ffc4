//! What every module stands on, and nothing that only one of them needs.
//!
//! A module depends on `kernel` and `contracts` and on no other module. It implements [`Module`],
//! is handed a [`Context`] when it starts, and gives back a [`Started`]: routes, subscriptions and
//! jobs. It talks to other modules only by publishing an [`Event`] in a [`Tx`] and by
//! [`Subscription`]s to theirs.

pub mod browser_session;
pub mod bus;
pub mod clock;
pub mod context;
pub mod csrf;
pub mod db;
pub mod etag;
pub mod event;
pub mod extract;
pub mod form;
pub mod fragment;
pub mod html;
pub mod idempotency;
pub mod ids;
pub mod jobs;
pub mod key_source;
pub mod language;
pub mod mime;
pub mod module;
pub mod page;
pub mod person;
pub mod principal;
pub mod problem;
pub mod routes;
pub mod secret;
mod shape;
pub mod telemetry;
pub mod token;

pub use bus::{
    Broadcast, EventBus, Handle, HandleBatch, HandlerError, Hint, Order, Received, Start,
    Subscription,
};
pub use clock::{Clock, Random, SeededRandom, SystemClock, SystemRandom, TestClock, World};
pub use context::RequestContext;
pub use db::{Db, Tx};
pub use event::{Envelope, Event, EventId, EventType};
pub use extract::{Form, Json, PagedQuery, Path, Query, Upload};
pub use fragment::Fragment;
pub use ids::{SessionId, UserId};
pub use jobs::{Job, Worker};
pub use key_source::KeySource;
pub use language::{Language, Text};
pub use module::{Context, Module, Started, Verb, read_config};
pub use principal::Principal;
pub use problem::{FieldError, Problem};
pub use routes::{Access, Routes};
pub use secret::{Sealed, Sealer, Secret, Secrets};
pub use token::{Claims, Verifier};
