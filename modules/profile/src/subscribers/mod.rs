//! What the module does when something happened elsewhere.

mod account;

use contracts::identity::{self, UserRegistered, UserRestated};
use kernel::{Subscription, World};

use self::account::CreateProfile;

pub(crate) fn subscriptions(world: &World) -> Vec<Subscription> {
    let create = CreateProfile {
        world: world.clone(),
    };
    vec![
        Subscription::new("create_profiles", identity::PUBLISHER)
            .on::<UserRegistered>(create.clone())
            .on::<UserRestated>(create),
    ]
}
