//! What the module does when something happened elsewhere.

mod account;
mod profile;
mod profile_created;
mod registration_attempted;
mod verification_requested;

use contracts::{
    identity::{self, RegistrationAttempted, UserRegistered, UserRestated, VerificationRequested},
    profile as profiles,
    profile::{ProfileCreated, ProfileRestated, ProfileUpdated},
};
use kernel::{Db, Subscription};

use self::{
    account::LearnAccount, profile::LearnProfile, profile_created::Welcome,
    registration_attempted::TellOwner, verification_requested::SendCode,
};
use crate::{config::Config, outbound::Outbound};

pub(crate) fn subscriptions(db: &Db, config: &Config, outbound: &Outbound) -> Vec<Subscription> {
    vec![
        // One read model each, so that a replay of either leaves the other's half alone.
        Subscription::new("recipients_from_identity", identity::PUBLISHER)
            .on::<UserRegistered>(LearnAccount)
            .on::<UserRestated>(LearnAccount)
            .read_model(&["notification.recipient_accounts"]),
        Subscription::new("recipients_from_profile", profiles::PUBLISHER)
            .on::<ProfileCreated>(LearnProfile)
            .on::<ProfileUpdated>(LearnProfile)
            .on::<ProfileRestated>(LearnProfile)
            .read_model(&["notification.recipient_profiles"]),
        // These send: without a read model they are never replayed.
        Subscription::new("mails_from_identity", identity::PUBLISHER)
            .on::<VerificationRequested>(SendCode {
                outbound: outbound.clone(),
            })
            .on::<RegistrationAttempted>(TellOwner {
                outbound: outbound.clone(),
                interval: config.address_taken_interval(),
                lifetime: config.message_lifetime(),
            }),
        Subscription::new("welcome_from_profile", profiles::PUBLISHER).on::<ProfileCreated>(
            Welcome {
                db: db.clone(),
                outbound: outbound.clone(),
                lifetime: config.message_lifetime(),
            },
        ),
    ]
}
