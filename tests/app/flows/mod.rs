//! What people and programs do, from the request to its last effect.

mod audit;
mod avatars;
mod codes;
mod guesses;
mod logs;
mod notifications;
mod otlp;
mod passwords;
mod profiles;
mod services;
mod session_list;
mod sessions;
mod setup;
mod shipping;
mod sign_up;
