//! Someone tried to register with the address of an account: its owner is told, nobody else.

use async_trait::async_trait;
use contracts::identity::RegistrationAttempted;
use kernel::{HandlerError, Received, Tx, bus::Handle};
use time::{Duration, OffsetDateTime};

use crate::{
    domain::Message,
    outbound::{NewMail, Outbound},
};

pub(super) struct TellOwner {
    pub(super) outbound: Outbound,
    /// One mail per person in this long.
    pub(super) interval: Duration,
}

#[async_trait]
impl Handle<RegistrationAttempted> for TellOwner {
    async fn handle(
        &self,
        tx: &mut Tx,
        event: Received<RegistrationAttempted>,
    ) -> Result<(), HandlerError> {
        let RegistrationAttempted {
            user_id,
            email,
            locale,
        } = &event.data;
        let mail = NewMail {
            user_id: Some(*user_id),
            address: email,
            locale,
            message: Message::AddressTaken {},
            // Anybody can cause this mail, as often as they like: those of one interval are one
            // cause.
            idempotency_key: &format!("address_taken:{user_id}:{}", self.interval_of(event.time)),
            expires_at: event.time + self.outbound.lifetime,
        };
        self.outbound.mail(tx, &event, mail).await
    }
}

impl TellOwner {
    fn interval_of(&self, time: OffsetDateTime) -> i64 {
        time.unix_timestamp()
            .div_euclid(self.interval.whole_seconds())
    }
}
