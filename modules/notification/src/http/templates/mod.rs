//! What mails look like, for administrators.

pub(crate) mod list_templates;
pub(crate) mod preview_template;
