//! What every change of a profile comes down to.

use kernel::Tx;

use crate::{
    domain::{Field, Profile},
    events::{self, ProfileUpdated, Shown},
    store,
};

/// Writes the new state of a profile that the transaction has locked, and tells of it. When nothing
/// has changed, neither.
pub(crate) async fn save(
    tx: &mut Tx,
    old: &Profile,
    mut new: Profile,
    now: time::OffsetDateTime,
) -> Result<Profile, sqlx::Error> {
    let changed = old.differences(&new);
    if changed.is_empty() {
        return Ok(new);
    }
    new.version += 1;
    new.updated_at = now;
    store::profiles::save(tx, &new).await?;
    tx.publish(&ProfileUpdated {
        user_id: new.user_id,
        display_name: new.display_name.clone(),
        locale: new.locale.clone(),
        time_zone: new.time_zone.clone(),
        changed,
        shown: shown(&new),
    });
    Ok(new)
}

/// What events tell of a profile beside what is needed to address its owner: no more than the owner
/// shows.
pub(crate) fn shown(profile: &Profile) -> Shown {
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
    }
}
