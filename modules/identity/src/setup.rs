//! The first administrator.
//!
//! While there is none, each start makes a one-time code and shows it at the terminal, beside the
//! address of the page to enter it on. The code is typed, never part of a link: a query string
//! ends up in access logs, browser histories and `Referer` headers, and a fragment could be read
//! only by a script, which the page does without.

use kernel::{Db, UserId, World, secret::Key};
use time::OffsetDateTime;
use url::Url;

use crate::{
    accounts,
    config::Config,
    domain::{ADMIN, DisplayName, Email, SetupCode, USER},
    store::{self, users::NewUser},
};

/// Puts a new code in force unless there is an administrator; returns what to tell the person at
/// the terminal. Codes of earlier starts and of other instances stay good: somebody may be typing one.
pub(crate) async fn offer(
    db: &Db,
    key: &Key,
    config: &Config,
    public_url: &Url,
) -> anyhow::Result<Option<String>> {
    let world = db.world();
    let mut conn = db.pool().acquire().await?;
    if store::users::has_admin(&mut conn).await? {
        return Ok(None);
    }
    let code = SetupCode::random(world);
    let expires_at = world.now() + config.setup_code_lifetime;
    // Asked again in the statement: somebody may be creating one just now.
    let offered = store::setup_codes::add(&mut conn, &code.digest(key), expires_at).await?;
    Ok(offered.then(|| {
        format!(
            "Create the first administrator: {} with the code {}",
            page_url(public_url),
            code.grouped()
        )
    }))
}

fn page_url(public_url: &Url) -> String {
    format!("{}/setup", public_url.as_str().trim_end_matches('/'))
}

/// An administrator who is to be.
pub(crate) struct NewAdmin {
    pub(crate) email: Email,
    pub(crate) password_hash: String,
    pub(crate) display_name: Option<DisplayName>,
}

/// Makes the account. None when the address has one.
pub(crate) async fn create_admin(
    tx: &mut kernel::Tx,
    world: &World,
    config: &Config,
    admin: &NewAdmin,
    now: OffsetDateTime,
) -> Result<Option<UserId>, sqlx::Error> {
    let user = NewUser {
        user_id: UserId(world.uuid()),
        email: admin.email.as_str(),
        password_hash: Some(&admin.password_hash),
        display_name: admin.display_name.as_ref().map(DisplayName::as_str),
        locale: config.default_locale.as_str(),
        time_zone: config.default_time_zone.as_str(),
        roles: &[USER.to_owned(), ADMIN.to_owned()],
    };
    let created = accounts::create(tx, &user, now).await?;
    Ok(created.then_some(user.user_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_stands_below_the_public_url() {
        for (base, page) in [
            ("http://localhost:8080", "http://localhost:8080/setup"),
            ("https://example.org/app/", "https://example.org/app/setup"),
        ] {
            assert_eq!(page_url(&Url::parse(base).unwrap()), page);
        }
    }
}
