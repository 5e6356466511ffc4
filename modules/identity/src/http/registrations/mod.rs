//! Registering: an address, then the proof that it is one's own.

pub(crate) mod register;
pub(crate) mod resend;
pub(crate) mod verify;

use kernel::Tx;
use uuid::Uuid;

use crate::{
    State,
    domain::VerificationCode,
    events::{RegistrationAttempted, VerificationRequested},
    store::registrations::Recipient,
};

/// Has the code mailed, or the owner of the account told that somebody tried: never both answers
/// to the same address, and never one that whoever asked could see.
fn publish_mail(
    tx: &mut Tx,
    state: &State,
    registration_id: Uuid,
    recipient: Recipient,
    code: &VerificationCode,
) {
    // Sealed in either case: the time that it takes must not tell which this is.
    let context = format!("verification:{registration_id}");
    let world = state.db.world();
    let sealed = state
        .sealer
        .seal(world, &context, &code.expose().to_owned());
    match recipient.existing_user_id {
        None => tx.publish(&VerificationRequested {
            registration_id,
            email: recipient.email,
            // Not what was typed: sign-up forms are used to mail strangers a line of one's own.
            display_name: None,
            locale: recipient.locale,
            code: sealed,
            expires_at: recipient.expires_at,
        }),
        Some(user_id) => tx.publish(&RegistrationAttempted {
            user_id,
            email: recipient.email,
            locale: recipient.locale,
        }),
    };
}
