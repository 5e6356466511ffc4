//! An address was proven to reach its person: whatever its server once said, it takes mail.

use async_trait::async_trait;
use contracts::identity::UserRegistered;
use kernel::{HandlerError, Received, Tx, bus::Handle};

use crate::store;

pub(super) struct LiftSuppression;

#[async_trait]
impl Handle<UserRegistered> for LiftSuppression {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<UserRegistered>,
    ) -> Result<(), HandlerError> {
        store::suppressions::lift_address(tx, &event.data.email).await?;
        Ok(())
    }
}
