//! Making an account, whoever asks for it.

use kernel::Tx;
use time::OffsetDateTime;

use crate::{
    domain::USER,
    events::{RoleGranted, UserRegistered},
    store::{self, users::NewUser},
};

/// Inserts the account and tells of it. False when the address has one: then nothing happened.
///
/// Every account has the role `user` from the start; others are told of as granted.
pub(crate) async fn create(
    tx: &mut Tx,
    user: &NewUser<'_>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    if !store::users::insert(tx, user, now).await? {
        return Ok(false);
    }
    tx.default_actor(format!("user:{}", user.user_id));
    tx.publish(&UserRegistered {
        user_id: user.user_id,
        email: user.email.to_owned(),
        display_name: user.display_name.map(str::to_owned),
        locale: user.locale.to_owned(),
        time_zone: user.time_zone.to_owned(),
        roles: user.roles.to_vec(),
    });
    for role in user.roles.iter().filter(|role| *role != USER) {
        tx.publish(&RoleGranted {
            user_id: user.user_id,
            role: role.clone(),
        });
    }
    let user_id = user.user_id;
    tx.after_commit(move || tracing::info!(user.id = %user_id, "account created"));
    Ok(true)
}
