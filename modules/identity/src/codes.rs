//! Codes by mail, to sign in or to set a new password: asked for, and tried.

use kernel::secret::constant_time_eq;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    State,
    domain::{CodePurpose, Email, VerificationCode},
    events::{self, CodeRecipient, CodeRequested, LoginFailed},
    guesses::{self, Guess},
    http::error::Error,
    sessions::Proof,
    sign_in::Proven,
    store::{
        self,
        codes::{NewCode, Recipient},
    },
};

/// A code that was asked for.
pub(crate) struct Asked {
    pub(crate) code_id: Uuid,
    pub(crate) expires_at: OffsetDateTime,
}

/// Has a code mailed if the address has an account. Whether it has shows in nothing: not in what is
/// answered, nor in what is done.
pub(crate) async fn ask(
    state: &State,
    purpose: CodePurpose,
    email: &Email,
) -> Result<Asked, Error> {
    let world = state.db.world();
    let now = world.now();
    let code_id = world.uuid();
    let expires_at = now + state.config.code_lifetime;
    let code = VerificationCode::random(world);
    let new = NewCode {
        code_id,
        purpose,
        email,
        code_digest: &code.digest(&state.keys.verification_codes, code_id),
        attempts: state.config.registration.attempts,
        expires_at,
    };
    let mut tx = state.db.begin().await?;
    store::address_lock::lock(&mut tx, "identity.codes", email).await?;
    let max = state.config.max_codes_per_address;
    // One too many is answered like any other, and nobody hears of it.
    if let Some(recipient) = store::codes::insert(&mut tx, &new, max, now).await? {
        // Sealed in either case: the time that it takes must not tell which this is.
        let context = format!("code:{code_id}");
        let sealed = state
            .sealer
            .seal(world, &context, &code.expose().to_owned());
        let recipient = match recipient {
            Recipient {
                user_id: Some(user_id),
                email: Some(email),
                locale: Some(locale),
            } => Some(CodeRecipient {
                user_id,
                email,
                locale,
                code: sealed,
            }),
            _ => None,
        };
        tx.publish(&CodeRequested {
            code_id,
            purpose: match purpose {
                CodePurpose::SignIn => events::CodePurpose::SignIn,
                CodePurpose::PasswordReset => events::CodePurpose::PasswordReset,
            },
            recipient,
            expires_at,
        });
    }
    tx.commit().await?;
    Ok(Asked {
        code_id,
        expires_at,
    })
}

/// Tries a code. What is wrong with it is not told; each try counts, whatever comes of it.
///
/// The code is good until the caller deletes it, in the transaction in which it is used.
pub(crate) async fn check(
    state: &State,
    purpose: CodePurpose,
    code_id: Uuid,
    typed: &str,
) -> Result<Proven, Error> {
    let code = VerificationCode::parse(typed).ok_or(Error::VerificationFailed)?;
    let digest = code.digest(&state.keys.verification_codes, code_id);
    let now = state.db.world().now();
    let config = state.config.guesses;

    let mut tx = state.db.begin().await?;
    let attempted = store::codes::attempt(&mut tx, code_id, purpose, now)
        .await?
        .ok_or(Error::VerificationFailed)?;
    // Three codes at a time, a few guesses at each, for ever, are a million in the end.
    let key = &state.keys.guesses;
    let guess = Guess::at(key, config, "code", &attempted.email_canonical, None);
    let blocked_until = guess.blocked_until(&mut tx, now).await?;
    if blocked_until.is_some() {
        return Err(guesses::too_many(blocked_until, now));
    }
    let right = constant_time_eq(&digest, &attempted.code_digest);
    let Some(user_id) = attempted.user_id.filter(|_| right) else {
        guess.failed(&mut tx, config.pauses, now).await?;
        tx.publish(&LoginFailed {
            user_id: attempted.user_id,
        });
        tx.commit().await?;
        return Err(Error::VerificationFailed);
    };
    tx.commit().await?;
    Ok(Proven {
        user_id,
        proof: Proof::Code(code_id),
        guess: Some(guess),
    })
}
