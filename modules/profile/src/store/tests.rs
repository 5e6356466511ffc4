use kernel::{UserId, World};
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;
use time::Duration;
use uuid::Uuid;

use super::{avatars, profiles};
use crate::{
    MIGRATOR,
    domain::{Avatar, MediaType},
};

/// The module's schema on a server of its own, as the role that serves: it must be allowed to.
pub(crate) struct TestDatabase {
    pub(crate) pool: PgPool,
    _server: embedded::Server,
    _folder: TempDir,
}

impl TestDatabase {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = embedded::Server::open(embedded::Options {
            data_dir: folder.path().join("postgres"),
            fsync: false,
            bin_dir: None,
        });
        let server = server.await.expect("PostgreSQL starts");
        let admin = server.admin();
        database::prepare(&admin, "banyan", &["profile"], b"secret")
            .await
            .expect("it is prepared");
        let options = |role: String| -> PgConnectOptions {
            let password = database::role_password(b"secret", &role);
            let options = admin.clone().database("banyan");
            options.username(&role).password(&password)
        };
        let owner = options(database::owner_role("profile"));
        database::migrate(&owner, "profile", &MIGRATOR)
            .await
            .expect("it is migrated");
        let pool = PgPool::connect_with(options(database::runtime_role("profile")));
        Self {
            pool: pool.await.expect("it connects"),
            _server: server,
            _folder: folder,
        }
    }
}

/// Somebody with a picture.
async fn person(conn: &mut PgConnection, world: &World) -> UserId {
    let (user_id, now) = (UserId(world.uuid()), world.now());
    profiles::insert_if_absent(conn, user_id, Some("Ada"), "en", "UTC", now)
        .await
        .unwrap();
    let avatar = Avatar {
        id: world.uuid(),
        version: world.uuid(),
    };
    avatars::announce(conn, avatar.id, user_id, MediaType::Png, now)
        .await
        .unwrap();
    assert!(avatars::keep(conn, avatar.id, now).await.unwrap());
    let mut profile = profiles::lock(conn, user_id).await.unwrap().unwrap();
    profile.avatar = Some(avatar);
    profiles::save(conn, &profile).await.unwrap();
    assert_eq!(profiles::find(conn, user_id).await.unwrap(), Some(profile));
    user_id
}

#[tokio::test]
async fn who_is_erased_leaves_no_profile_and_no_picture() {
    let (database, world) = (TestDatabase::start().await, World::system());
    let mut conn = database.pool.acquire().await.unwrap();
    let (ada, eve) = (
        person(&mut conn, &world).await,
        person(&mut conn, &world).await,
    );
    let (now, on_its_way) = (world.now(), world.uuid());
    avatars::announce(&mut conn, on_its_way, ada, MediaType::Jpeg, now)
        .await
        .unwrap();
    profiles::erase(&mut conn, ada, now).await.unwrap();
    assert_eq!(profiles::find(&mut conn, ada).await.unwrap(), None);
    // What was on its way comes too late.
    assert!(!avatars::keep(&mut conn, on_its_way, now).await.unwrap());
    let dropped = avatars::dropped(&mut conn, 10).await.unwrap();
    assert_eq!(dropped.len(), 2);
    avatars::forget(&mut conn, &dropped).await.unwrap();
    assert!(avatars::dropped(&mut conn, 10).await.unwrap().is_empty());
    // Others keep theirs.
    let eves = profiles::find(&mut conn, eve).await.unwrap().unwrap();
    let avatar = eves.avatar.unwrap();
    assert!(
        avatars::find(&mut conn, eve, avatar.version)
            .await
            .unwrap()
            .is_some()
    );
    avatars::forget(&mut conn, &[avatar.id]).await.unwrap();
    assert!(
        avatars::find(&mut conn, eve, avatar.version)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_picture_is_kept_once_and_given_up_for_good() {
    let (database, world) = (TestDatabase::start().await, World::system());
    let mut conn = database.pool.acquire().await.unwrap();
    let ada = person(&mut conn, &world).await;
    let (now, late) = (world.now(), world.uuid());
    avatars::announce(&mut conn, late, ada, MediaType::Jpeg, now)
        .await
        .unwrap();
    // A second one is not kept beside the first.
    let refused = avatars::keep(&mut conn, late, now).await.unwrap_err();
    let constraint = refused
        .as_database_error()
        .unwrap()
        .constraint()
        .map(str::to_owned);
    assert_eq!(constraint.as_deref(), Some("one_avatar_is_kept"));

    let given_up = avatars::give_up(&mut conn, now, now).await.unwrap();
    assert_eq!(given_up, 0, "it began just now");
    let given_up = avatars::give_up(&mut conn, now + Duration::SECOND, now).await;
    assert_eq!(given_up.unwrap(), 1);
    assert!(!avatars::keep(&mut conn, late, now).await.unwrap());
    assert!(!avatars::keep(&mut conn, Uuid::nil(), now).await.unwrap());
}
