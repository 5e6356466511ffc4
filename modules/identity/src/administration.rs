//! What administrators do with accounts, and telling of it.
//!
//! Nobody does it to themselves: whoever acts is an administrator and stays one, so there is always one.

use kernel::{Tx, UserId};
use time::OffsetDateTime;

use crate::{
    State,
    domain::ADMIN,
    events::{RoleGranted, RoleRevoked, SessionEnd, UserReinstated, UserSuspended},
    http::error::Error,
    services::{CLOCK_SKEW, tokens_expire_at},
    sessions,
    store::administration::{self as store, Change},
};

/// Something done to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Suspend,
    Reinstate,
    SignOut,
    GrantAdmin,
    RevokeAdmin,
}

impl Act {
    /// Would it shut the one out who does it to themselves?
    fn costs_the_role(self) -> bool {
        matches!(self, Self::Suspend | Self::RevokeAdmin)
    }
}

/// Does it, or finds that it is so already.
pub(crate) async fn act(
    state: &State,
    actor: UserId,
    user_id: UserId,
    act: Act,
) -> Result<(), Error> {
    if act.costs_the_role() && actor == user_id {
        return Err(Error::OwnAccount);
    }
    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    if !store::lock_administrator(&mut tx, actor).await? {
        return Err(Error::NoAdministrator);
    }
    match act_in(&mut tx, user_id, act, now).await? {
        Change::NoSuchUser => Err(Error::NotFound),
        Change::Nothing => Ok(()),
        Change::Made => Ok(tx.commit().await?),
    }
}

async fn act_in(
    tx: &mut Tx,
    user_id: UserId,
    act: Act,
    now: OffsetDateTime,
) -> Result<Change, sqlx::Error> {
    let change = match act {
        Act::Suspend => store::suspend(tx, user_id, now).await?,
        Act::Reinstate => store::reinstate(tx, user_id).await?,
        Act::SignOut if store::exists(tx, user_id).await? => Change::Made,
        Act::SignOut => Change::NoSuchUser,
        Act::GrantAdmin => store::grant(tx, user_id, ADMIN).await?,
        Act::RevokeAdmin => store::revoke(tx, user_id, ADMIN, tokens_from(now)).await?,
    };
    if change != Change::Made {
        return Ok(change);
    }
    match act {
        Act::Suspend => {
            sessions::end_all(tx, user_id, None, SessionEnd::Suspended).await?;
            tx.publish(&UserSuspended {
                user_id,
                tokens_expire_at: tokens_expire_at(now),
            });
        }
        Act::Reinstate => {
            tx.publish(&UserReinstated { user_id });
        }
        Act::SignOut => sessions::end_all(tx, user_id, None, SessionEnd::Revoked).await?,
        Act::GrantAdmin => {
            tx.publish(&RoleGranted {
                user_id,
                role: ADMIN.to_owned(),
            });
        }
        Act::RevokeAdmin => {
            tx.publish(&RoleRevoked {
                user_id,
                role: ADMIN.to_owned(),
                tokens_revoked_until: now + CLOCK_SKEW,
                tokens_expire_at: tokens_expire_at(now),
            });
        }
    }
    Ok(change)
}

/// Tokens tell their time in whole seconds: the first that counts is the one after those that were
/// revoked.
fn tokens_from(now: OffsetDateTime) -> OffsetDateTime {
    now + CLOCK_SKEW + time::Duration::SECOND
}

/// May the role be given and taken? `user` every account has.
pub(crate) fn may_be_granted(role: &str) -> bool {
    role == ADMIN
}
