//! The pages, as somebody with a browser meets them. Each picture is in target/screenshots after.

mod chromium;
mod doors;
mod logs;
mod notifications;
mod profile;
mod sessions;
mod users;
mod walker;
