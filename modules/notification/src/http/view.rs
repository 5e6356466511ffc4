//! A notification as its recipient sees it.

use kernel::Problem;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{Locale, Notice},
    mail::{Frame, Said, in_app},
    store::notifications::{Inbox, Stored},
};

/// A notification, in the recipient's present language.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotificationView {
    pub(crate) id: Uuid,
    /// Dense from 1 per recipient, in the order of arrival: the event id on the live stream.
    pub(crate) number: i64,
    /// `welcome`, `password_changed`, `unfamiliar_sign_in` or `from_service`; others may be added.
    #[schema(examples("welcome"))]
    kind: String,
    pub(crate) title: String,
    /// Plain text; may be empty.
    pub(crate) body: String,
    /// Where it leads, http or https; absent when it leads nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action_url: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    pub(crate) read_at: Option<OffsetDateTime>,
}

/// Puts stored notifications into words.
pub(crate) struct Words<'a> {
    locale: Locale,
    frame: &'a Frame,
}

impl<'a> Words<'a> {
    pub(crate) fn of(inbox: &Inbox, frame: &'a Frame) -> Self {
        Self {
            locale: Locale::nearest(inbox.locale.as_deref().unwrap_or("en")),
            frame,
        }
    }

    pub(crate) fn view(&self, stored: Stored) -> Result<NotificationView, Problem> {
        let Stored {
            id,
            number,
            kind,
            data,
            created_at,
            read_at,
        } = stored;
        let notice = Notice::from_columns(&kind, &data);
        let Said {
            title,
            body,
            action_url,
        } = in_app(notice.as_ref(), self.locale, self.frame).map_err(Problem::internal)?;
        Ok(NotificationView {
            id,
            number,
            kind,
            title,
            body,
            action_url: action_url.map(String::from),
            created_at,
            read_at,
        })
    }
}
