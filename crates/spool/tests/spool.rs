//! The queue as its owner sees it, on a real disk.

use std::{fs, path::Path};

use bytes::Bytes;
use spool::{Batch, Lost, Spool};
use uuid::Uuid;

fn batch(n: u8) -> Batch {
    Batch {
        id: Uuid::from_bytes([n; 16]),
        note: Bytes::from(vec![n; 4]),
        payload: Bytes::from(vec![n; 36]),
    }
}

/// What a file of [`batch`] takes: a block.
const SIZE: u64 = 4_096;

fn put(spool: &mut Spool, n: u8) -> Vec<Lost> {
    let mut lost = Vec::new();
    spool.put(n.into(), &batch(n), &mut lost).unwrap();
    lost
}

fn drain(spool: &mut Spool) -> Vec<Batch> {
    let mut all = Vec::new();
    while let Some((number, batch)) = spool.first().unwrap() {
        spool.remove(number).unwrap();
        all.push(batch);
    }
    all
}

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder.join("0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}

#[test]
fn batches_come_back_in_order_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    for n in [2, 1, 3] {
        assert_eq!(put(&mut spool, n), []);
    }
    assert_eq!((spool.bytes(), spool.next_number()), (3 * SIZE, 4));
    drop(spool);
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    assert_eq!((spool.bytes(), spool.next_number()), (3 * SIZE, 4));
    assert_eq!(drain(&mut spool), [batch(1), batch(2), batch(3)]);
    assert_eq!((spool.bytes(), spool.is_empty()), (0, true));
}

#[test]
fn the_oldest_makes_room_but_not_what_is_being_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 3 * SIZE).unwrap();
    for n in 1..=3 {
        put(&mut spool, n);
    }
    let lost = |n| {
        vec![Lost {
            note: Some(batch(n).note),
        }]
    };
    assert_eq!(put(&mut spool, 4), lost(1));
    assert_eq!(spool.first().unwrap().unwrap().0, 2);
    assert_eq!(put(&mut spool, 5), lost(3));
    spool.release();
    assert_eq!(put(&mut spool, 6), lost(2));
    assert_eq!(spool.bytes(), 3 * SIZE);

    let mut large = batch(7);
    large.payload = Bytes::from(vec![7; 3 * 4_096]);
    let mut gone = Vec::new();
    spool.put(7, &large, &mut gone).unwrap();
    assert_eq!(gone, lost(7));
    assert_eq!(drain(&mut spool), [batch(4), batch(5), batch(6)]);
}

#[test]
fn who_was_killed_while_writing_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    put(&mut spool, 1);
    drop(spool);
    // Written as far as that, and not renamed.
    let whole = fs::read(&files(folder.path(), "batch")[0]).unwrap();
    let part = folder.path().join("0").join("00000000000000000002.part");
    fs::write(&part, &whole[..50]).unwrap();
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    assert!(!part.exists());
    assert_eq!(drain(&mut spool), [batch(1)]);
}

#[test]
fn what_cannot_be_read_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    for n in 1..=20 {
        put(&mut spool, n);
    }
    let paths = files(folder.path(), "batch");
    for path in &paths[..18] {
        let mut bytes = fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }
    fs::write(&paths[18], b"").unwrap();
    assert_eq!(drain(&mut spool), [batch(20)]);
    assert_eq!((spool.set_aside(), spool.bytes()), (19, 0));
    assert_eq!(files(folder.path(), "bad").len(), 8);
    drop(spool);
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    assert_eq!(drain(&mut spool), []);
}

#[test]
fn processes_that_share_a_folder_have_places_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = Spool::open(folder.path(), 100_000).unwrap();
    put(&mut one, 1);
    let mut two = Spool::open(folder.path(), 100_000).unwrap();
    put(&mut two, 1);
    assert!(folder.path().join("1").is_dir());
    drop(one);
    // The first place is free again, with what was left there.
    let mut three = Spool::open(folder.path(), 100_000).unwrap();
    assert_eq!(drain(&mut three), [batch(1)]);
    assert_eq!(drain(&mut two), [batch(1)]);
}

#[test]
fn a_disk_that_refuses_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    put(&mut spool, 1);
    // In the way of the file that is to be written.
    let part = folder.path().join("0").join("00000000000000000002.part");
    fs::create_dir(&part).unwrap();
    let mut lost = Vec::new();
    assert!(spool.put(2, &batch(2), &mut lost).is_err());
    fs::remove_dir(&part).unwrap();
    assert_eq!((spool.bytes(), lost), (SIZE, vec![]));
    assert_eq!(drain(&mut spool), [batch(1)]);
}
