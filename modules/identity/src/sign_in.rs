//! Checking passwords: guesses get slower, and no answer tells whether an account exists.

use kernel::UserId;

use crate::{
    State,
    domain::{Email, Password},
    events::LoginFailed,
    guesses::{self, Guess},
    http::error::Error,
    passwords::Place,
    sessions::Proof,
    store,
};

/// Somebody proved to be the holder of an account.
pub(crate) struct Proven {
    pub(crate) user_id: UserId,
    pub(crate) proof: Proof,
    /// To be told that it was right, when the session begins.
    pub(crate) guess: Option<Guess>,
}

/// Checks address and password. A wrong one is counted and told of before this returns.
pub(crate) async fn check_password(
    state: &State,
    email: &Email,
    password: Password,
) -> Result<Proven, Error> {
    if !state.config.password_sign_in {
        return Err(Error::PasswordSignInOff);
    }
    let place = state.passwords.reserve()?;
    check_in(state, place, email, password).await
}

async fn check_in(
    state: &State,
    place: Place,
    email: &Email,
    password: Password,
) -> Result<Proven, Error> {
    let config = state.config.guesses;
    let now = state.db.world().now();
    let key = &state.keys.guesses;
    let client = guesses::device().digest(&state.keys.familiar_clients);
    let canonical = email.canonical();
    let guess_of = |familiar| Guess::at(key, config, "password", &canonical, familiar);
    let (stranger, friend) = (guess_of(None), guess_of(Some(&client)));

    // The connection goes back before hashing, which takes longer than all statements together.
    let look = {
        let mut conn = state.db.pool().acquire().await?;
        let counters = store::users::Counters {
            stranger: stranger.account_key(),
            friend: friend.account_key(),
            network: stranger.network_key(),
        };
        store::users::look(&mut conn, email, &client, counters, now).await?
    };
    if look.blocked_until.is_some() {
        return Err(guesses::too_many(look.blocked_until, now));
    }
    let mut guess = if look.familiar { friend } else { stranger };
    if look.costs_pauses {
        guess.reserve(&state.db, config.pauses, now).await?;
    }
    let hash = look.password_hash;
    let verified = state
        .passwords
        .verify(place, password.clone(), hash.clone())
        .await?;
    let (Some(user_id), Some(hash), true) = (look.user_id, hash, verified) else {
        let mut tx = state.db.begin().await?;
        guess.failed(&mut tx, config.pauses, now).await?;
        tx.publish(&LoginFailed {
            user_id: look.user_id,
        });
        tx.commit().await?;
        return Err(Error::InvalidCredentials);
    };
    if look.suspended {
        return Err(Error::Suspended);
    }
    let hash = rehash(state, user_id, password, hash).await;
    Ok(Proven {
        user_id,
        proof: Proof::Password(hash),
        guess: Some(guess),
    })
}

/// Hashes the password anew if the cost is another now. What hinders that hinders no sign-in: there
/// will be another.
async fn rehash(state: &State, user_id: UserId, password: Password, hash: String) -> String {
    if !state.passwords.is_outdated(&hash) {
        return hash;
    }
    let rehashed = async {
        let new = state
            .passwords
            .hash(state.passwords.reserve()?, password)
            .await?;
        let mut conn = state.db.pool().acquire().await?;
        let replaced = store::users::replace_hash(&mut conn, user_id, &hash, &new).await?;
        Ok::<_, Error>(replaced.then_some(new))
    };
    match rehashed.await {
        Ok(Some(new)) => new,
        Ok(None) => hash,
        Err(error) => {
            tracing::warn!(user.id = %user_id, %error, "password could not be hashed anew");
            hash
        }
    }
}
