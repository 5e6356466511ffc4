//! Making, changing and disabling services, and telling of it.

use kernel::Tx;
use time::{Duration, OffsetDateTime};

use crate::{
    config::MAX_ACCESS_TOKEN_TTL,
    domain::{ClientId, ServiceSecret},
    events::{ServiceDisabled, ServiceRegistered, ServiceSecretRotated},
    store::{self, services::NewService},
};

/// How far apart the clocks of two instances may be: one that is ahead must not have issued a token
/// that a revocation of just now does not meet.
pub(crate) const CLOCK_SKEW: Duration = Duration::seconds(5);

/// False when the id is taken: then nothing happened.
pub(crate) async fn register(
    tx: &mut Tx,
    service: &NewService<'_>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    if !store::services::insert(tx, service, now).await? {
        return Ok(false);
    }
    tx.publish(&ServiceRegistered {
        client_id: service.client_id.as_str().to_owned(),
        display_name: service.display_name.to_owned(),
        scopes: service.scopes.as_slice().to_vec(),
    });
    Ok(true)
}

/// Puts a new secret in force; the one before stays good for `overlap`. Without an overlap it has
/// leaked, and what was issued for it goes with it.
pub(crate) async fn rotate_secret(
    tx: &mut Tx,
    client_id: &ClientId,
    secret: &ServiceSecret,
    overlap: Duration,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let revoked_until = overlap.is_zero().then(|| now + CLOCK_SKEW);
    // Tokens tell their time in whole seconds: the first that counts is the one after.
    let tokens_from = revoked_until.map(|until| until + Duration::SECOND);
    let previous_until = now + overlap;
    store::services::rotate(tx, client_id, secret, previous_until, tokens_from).await?;
    tx.publish(&ServiceSecretRotated {
        client_id: client_id.as_str().to_owned(),
        previous_good_until: previous_until,
        tokens_revoked_until: revoked_until,
        tokens_expire_at: tokens_expire_at(now),
    });
    Ok(())
}

pub(crate) async fn disable(
    tx: &mut Tx,
    client_id: &ClientId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    store::services::disable(tx, client_id, now).await?;
    tx.publish(&ServiceDisabled {
        client_id: client_id.as_str().to_owned(),
        tokens_expire_at: tokens_expire_at(now),
    });
    Ok(())
}

/// Whatever their life was configured to be where they were issued, by a clock somewhat ahead.
pub(crate) fn tokens_expire_at(now: OffsetDateTime) -> OffsetDateTime {
    now + MAX_ACCESS_TOKEN_TTL + CLOCK_SKEW
}
