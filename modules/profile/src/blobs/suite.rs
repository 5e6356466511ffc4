//! What every store of blobs does, asked of each in the same words.

use axum::body::Bytes;
use uuid::Uuid;

use super::{BlobStore, Disk, Key, MAX_BYTES, Postgres, s3};
use crate::{domain::AvatarSize, store::tests::TestDatabase};

fn key(n: u128) -> Key {
    Key::of_avatar(Uuid::from_u128(n), AvatarSize::Small)
}

async fn holds(store: &dyn BlobStore) {
    let (one, other) = (key(1), key(2));
    assert_eq!(store.get(&one).await.unwrap(), None);
    store.delete(&one).await.unwrap();

    // All bytes, as they are.
    let content = Bytes::from_iter((0..=u8::MAX).cycle().take(100_000));
    store.put(&one, content.clone()).await.unwrap();
    assert_eq!(store.get(&one).await.unwrap().unwrap(), content);
    assert_eq!(store.get(&other).await.unwrap(), None);

    store.put(&one, Bytes::from_static(b"anew")).await.unwrap();
    assert_eq!(store.get(&one).await.unwrap().unwrap(), "anew");

    // The sizes of a picture are apart.
    let large = Key::of_avatar(Uuid::from_u128(1), AvatarSize::Large);
    store
        .put(&large, Bytes::from_static(b"large"))
        .await
        .unwrap();
    assert_eq!(store.get(&one).await.unwrap().unwrap(), "anew");

    store.delete(&one).await.unwrap();
    assert_eq!(store.get(&one).await.unwrap(), None);
    assert_eq!(store.get(&large).await.unwrap().unwrap(), "large");
    store.delete(&one).await.unwrap();

    let largest = Bytes::from(vec![7; MAX_BYTES]);
    store.put(&other, largest.clone()).await.unwrap();
    assert!(store.get(&other).await.unwrap().unwrap() == largest);
}

#[tokio::test]
async fn postgres() {
    let database = TestDatabase::start().await;
    holds(&Postgres::new(database.pool.clone())).await;
}

#[tokio::test]
async fn disk() {
    let folder = tempfile::tempdir().expect("a folder");
    holds(&Disk::open(folder.path().to_owned()).expect("it can be written to")).await;
}

#[tokio::test]
async fn s3() {
    let server = s3::tests::Server::start().await;
    holds(&server.store("")).await;
}
