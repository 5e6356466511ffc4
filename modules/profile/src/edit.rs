//! What every change of a profile comes down to.

use kernel::Tx;
use uuid::Builder;

use crate::{
    State,
    domain::{Field, Profile},
    events::{self, ProfileUpdated, Shown},
    store,
};

/// Writes the new state of a profile that the transaction has locked, and tells of it. When nothing
/// has changed, neither.
pub(crate) async fn save(
    state: &State,
    tx: &mut Tx,
    old: &Profile,
    mut new: Profile,
) -> Result<Profile, sqlx::Error> {
    let changed = old.differences(&new);
    if changed.is_empty() {
        return Ok(new);
    }
    let world = state.db.world();
    new.version += 1;
    new.updated_at = world.now();
    let hidden = old.visible.contains(Field::Avatar) && !new.visible.contains(Field::Avatar);
    if let Some(avatar) = new.avatar.as_mut().filter(|_| hidden) {
        // Those who were told the address are not to see the picture any more.
        avatar.version = Builder::from_random_bytes(world.bytes()).into_uuid();
    }
    store::profiles::save(tx, &new).await?;
    tx.publish(&ProfileUpdated {
        user_id: new.user_id,
        display_name: new.display_name.clone(),
        locale: new.locale.clone(),
        time_zone: new.time_zone.clone(),
        changed,
        shown: Some(shown(state, &new)),
    });
    Ok(new)
}

/// What events tell of a profile beside what is needed to address its owner: no more than the owner
/// shows.
pub(crate) fn shown(state: &State, profile: &Profile) -> Shown {
    let Profile {
        bio,
        links,
        attributes,
        ..
    } = profile;
    let links = links.iter().map(|link| events::Link {
        label: link.label.clone(),
        url: link.url.clone(),
    });
    Shown {
        bio: profile.shown(Field::Bio, bio.clone()).flatten(),
        links: profile
            .shown(Field::Links, links.collect())
            .unwrap_or_default(),
        attributes: profile
            .shown(Field::Attributes, attributes.members().clone())
            .unwrap_or_default(),
        avatar_url: profile
            .shown(Field::Avatar, state.avatar_url(profile))
            .flatten(),
    }
}
