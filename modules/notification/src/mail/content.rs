//! From what a delivery row keeps to what its mail says.

use kernel::{Sealed, Sealer};
use uuid::Uuid;

use super::{
    SendError,
    render::{
        AddressTaken, CodeMail, Content, Frame, FromService, PasswordChanged, UnfamiliarSignIn,
        Welcome,
    },
};
use crate::domain::{Locale, Message, SafeName};

/// Opens what is sealed. From here the secret is in memory only, until the mail is handed over.
pub(crate) fn content(
    message: Message,
    locale: Locale,
    valid_for: time::Duration,
    sealer: &Sealer,
    frame: &Frame,
) -> Result<Content, SendError> {
    let code_mail = |kind: &str, id: Uuid, code: &Sealed<String>, page: [&str; 2]| {
        let code = sealer.open(&format!("{kind}:{id}"), code).ok_or_else(|| {
            SendError::temporary(
                "the code cannot be opened: the process of identity has another \
                 secrets.sealing_key",
            )
        })?;
        let link = frame.link(&page, &[("id", &id.to_string()), ("code", &code)]);
        Ok(CodeMail::new(locale, code, link, valid_for))
    };
    let reset_link = || frame.link(&["password", "forgot"], &[]);
    Ok(match message {
        Message::Verification {
            registration_id: id,
            code,
        } => Content::Verification(code_mail("verification", id, &code, ["sign-up", "verify"])?),
        Message::SignInCode { code_id: id, code } => {
            Content::SignInCode(code_mail("code", id, &code, ["sign-in", "code"])?)
        }
        Message::PasswordResetCode { code_id: id, code } => {
            Content::PasswordResetCode(code_mail("code", id, &code, ["password", "reset"])?)
        }
        Message::AddressTaken {} => Content::AddressTaken(AddressTaken),
        Message::PasswordChanged { was_reset, seen } => Content::PasswordChanged(PasswordChanged {
            was_reset,
            seen: seen.in_words(locale),
            reset_link: reset_link(),
        }),
        Message::UnfamiliarSignIn { seen } => Content::UnfamiliarSignIn(UnfamiliarSignIn {
            seen: seen.in_words(locale),
            reset_link: reset_link(),
        }),
        Message::Welcome { display_name } => {
            let name = display_name.as_deref().and_then(SafeName::new);
            Content::Welcome(Welcome { name })
        }
        Message::FromService { words, .. } => Content::FromService(FromService { words }),
    })
}
