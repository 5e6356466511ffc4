//! What the module does when something happened elsewhere.

mod account;
mod address_proven;
mod code_requested;
mod password_changed;
mod profile;
mod profile_created;
mod registration_attempted;
mod session_started;
mod verification_requested;

use contracts::{
    identity::{
        self, CodeRequested, PasswordChanged, RegistrationAttempted, SessionStarted,
        UserRegistered, UserRestated, VerificationRequested,
    },
    profile as profiles,
    profile::{ProfileCreated, ProfileRestated, ProfileUpdated},
};
use kernel::{Received, Subscription};

use self::{
    account::LearnAccount, address_proven::LiftSuppression, code_requested::SendCode,
    password_changed::TellOfPassword, profile::LearnProfile, profile_created::Welcome,
    registration_attempted::TellOwner, session_started::TellOfSignIn,
    verification_requested::SendVerification,
};
use crate::{config::Config, domain::Occurrence, outbound::Outbound, store::recipients::Recipient};

pub(crate) fn subscriptions(config: &Config, outbound: &Outbound) -> Vec<Subscription> {
    let outbound = || outbound.clone();
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
            .on::<VerificationRequested>(SendVerification {
                outbound: outbound(),
            })
            .on::<UserRegistered>(LiftSuppression)
            .on::<CodeRequested>(SendCode {
                outbound: outbound(),
            })
            .on::<RegistrationAttempted>(TellOwner {
                outbound: outbound(),
                interval: config.address_taken_interval(),
            })
            .on::<PasswordChanged>(TellOfPassword {
                outbound: outbound(),
            })
            .on::<SessionStarted>(TellOfSignIn {
                outbound: outbound(),
            }),
        Subscription::new("welcome_from_profile", profiles::PUBLISHER).on::<ProfileCreated>(
            Welcome {
                outbound: outbound(),
            },
        ),
    ]
}

/// When and from where, as the event and the person's settings tell it.
fn occurrence<E>(event: &Received<E>, recipient: &Recipient, device: Option<&str>) -> Occurrence {
    const MAX_DEVICE_CHARS: usize = 200;
    let client = event.context.client.as_ref();
    Occurrence {
        at: event.time,
        time_zone: recipient
            .time_zone
            .clone()
            .unwrap_or_else(|| "UTC".to_owned()),
        address: client.and_then(|client| client.address),
        device: device.map(|device| device.chars().take(MAX_DEVICE_CHARS).collect()),
    }
}
