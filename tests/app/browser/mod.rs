//! The pages, as somebody with a browser meets them.

mod chromium;
mod sessions;
mod walk;
