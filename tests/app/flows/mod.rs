//! What people and programs do, from the request to its last effect.

mod audit;
mod logs;
mod notifications;
mod otlp;
mod profiles;
mod services;
mod sessions;
mod setup;
mod shipping;
mod sign_up;
