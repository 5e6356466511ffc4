//! A batch in its file: what it is, a digest of the rest, id, length of the note, note, payload.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf, Bytes};
use uuid::Uuid;

use crate::Batch;

/// With the version of the layout at its end.
const MAGIC: &[u8; 8] = b"BNYSPL\0\x01";
const DIGEST: usize = 32;
const HEAD: usize = MAGIC.len() + DIGEST + 16 + 4;

/// What a file system gives to a file at least: without it, many small batches would take many times
/// the room they were given.
const BLOCK: u64 = 4_096;

/// What a batch takes on disk.
pub(crate) fn size(batch: &Batch) -> u64 {
    size_of((HEAD + batch.note.len() + batch.payload.len()) as u64)
}

pub(crate) fn size_of(file_bytes: u64) -> u64 {
    file_bytes.next_multiple_of(BLOCK).max(BLOCK)
}

/// Writes and syncs it.
pub(crate) fn write(path: &Path, batch: &Batch) -> io::Result<()> {
    let note_len = u32::try_from(batch.note.len()).map_err(io::Error::other)?;
    let parts = [
        batch.id.as_bytes(),
        &note_len.to_be_bytes()[..],
        &batch.note,
        &batch.payload,
    ];
    let mut digest = Context::new(&SHA256);
    parts.iter().for_each(|part| digest.update(part));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(digest.finish().as_ref())?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// # Errors
/// `InvalidData` when it is not what was written.
pub(crate) fn read(path: &Path) -> io::Result<Batch> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut File::open(path)?, &mut bytes)?;
    parse(bytes.into()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(mut bytes: Bytes) -> Option<Batch> {
    if bytes.len() < HEAD || !bytes.starts_with(MAGIC) {
        return None;
    }
    bytes.advance(MAGIC.len());
    let digest = bytes.split_to(DIGEST);
    let mut actual = Context::new(&SHA256);
    actual.update(&bytes);
    if actual.finish().as_ref() != &*digest {
        return None;
    }
    let id = Uuid::from_slice(&bytes.split_to(16)).ok()?;
    let note_len = bytes.get_u32() as usize;
    if bytes.len() < note_len {
        return None;
    }
    let note = bytes.split_to(note_len);
    Some(Batch {
        id,
        note,
        payload: bytes,
    })
}
