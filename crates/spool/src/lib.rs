//! A queue of batches on disk, bounded in bytes: what waits for a destination that is away. The
//! oldest goes first, both when the destination is back and when there is no more room.
//!
//! A batch is a file. It is written under another name, synced, and renamed: kill -9 leaves it whole
//! or not at all. A file that does not hold what its digest says is set aside, and the next one is
//! read.
//!
//! Calls block on the disk.

mod file;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use uuid::Uuid;

/// Processes that may share a folder.
const MAX_PLACES: u32 = 64;
/// Files that cannot be read are kept for a person to look at, but not more than these.
const MAX_SET_ASIDE: usize = 8;

const BATCH: &str = "batch";
const PART: &str = "part";
const BAD: &str = "bad";

/// What is queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Names it for the destination, which may get it twice.
    pub id: Uuid,
    /// What its owner wants to know of it when it has to go: [`Lost::note`].
    pub note: Bytes,
    pub payload: Bytes,
}

/// A batch that was dropped to make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Nothing when its file cannot be read.
    pub note: Option<Bytes>,
}

/// A queue on disk, held by one process.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    max_bytes: u64,
    /// Number of the batch → size of its file.
    sizes: BTreeMap<u64, u64>,
    bytes: u64,
    /// On its way to the destination: not dropped.
    sending: Option<u64>,
    set_aside: u64,
    /// Locked as long as it is open.
    _lock: File,
}

impl Spool {
    /// Opens the first of the folder's places, `0`, `1`, …, that no other process holds; processes
    /// may share a data directory. What another process left in its place is taken over.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or all places are held.
    pub fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        for place in 0..MAX_PLACES {
            let folder = folder.join(place.to_string());
            // What is in log records is nobody else's business.
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)?;
            let lock = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(folder.join("lock"))?;
            match lock.try_lock() {
                Ok(()) => return Self::read(folder, max_bytes, lock),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "all {MAX_PLACES} places in {} are held by other processes",
            folder.display()
        )))
    }

    fn read(folder: PathBuf, max_bytes: u64, lock: File) -> io::Result<Self> {
        let mut sizes = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.extension().and_then(|e| e.to_str()) {
                // Somebody was killed between writing and renaming.
                Some(PART) => fs::remove_file(&path)?,
                Some(BATCH) => {
                    if let Some(number) = number_of(&path) {
                        sizes.insert(number, file::size_of(fs::metadata(&path)?.len()));
                    }
                }
                _ => {}
            }
        }
        Ok(Self {
            folder,
            max_bytes,
            bytes: sizes.values().sum(),
            sizes,
            sending: None,
            set_aside: 0,
            _lock: lock,
        })
    }

    /// A number after all that are here: batches are sent in the order of their numbers.
    pub fn next_number(&self) -> u64 {
        self.sizes.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// That the files of all batches take on disk, in whole blocks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Files that could not be read, since it was opened.
    pub fn set_aside(&self) -> u64 {
        self.set_aside
    }

    /// Puts a batch in its place, and drops the oldest as far as it must: those are added to
    /// `lost`, the batch itself when it is larger than all the room there is.
    ///
    /// # Errors
    /// When the disk does not take it; nothing of it is left then.
    pub fn put(&mut self, number: u64, batch: &Batch, lost: &mut Vec<Lost>) -> io::Result<()> {
        let size = file::size(batch);
        if size > self.max_bytes {
            let note = Some(batch.note.clone());
            lost.push(Lost { note });
            return Ok(());
        }
        while self.bytes + size > self.max_bytes {
            let mut numbers = self.sizes.keys().copied();
            let Some(oldest) = numbers.find(|n| Some(*n) != self.sending) else {
                break;
            };
            let note = file::read(&self.path(oldest, BATCH)).ok().map(|b| b.note);
            self.remove(oldest)?;
            lost.push(Lost { note });
        }
        let part = self.path(number, PART);
        let written = file::write(&part, batch)
            .and_then(|()| fs::rename(&part, self.path(number, BATCH)))
            .and_then(|()| File::open(&self.folder)?.sync_all());
        if let Err(error) = written {
            // A disk that is full or away may refuse this too; then the next start removes it.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        self.sizes.insert(number, size);
        self.bytes += size;
        Ok(())
    }

    /// The oldest batch, which is not dropped until it is [removed](Self::remove) or
    /// [released](Self::release). Nothing when there is none.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn first(&mut self) -> io::Result<Option<(u64, Batch)>> {
        while let Some((&number, _)) = self.sizes.first_key_value() {
            match file::read(&self.path(number, BATCH)) {
                Ok(batch) => {
                    self.sending = Some(number);
                    return Ok(Some((number, batch)));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    fs::rename(self.path(number, BATCH), self.path(number, BAD))?;
                    self.forget(number);
                    self.set_aside += 1;
                    self.limit_set_aside()?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.forget(number),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The destination did not take it: it waits on.
    pub fn release(&mut self) {
        self.sending = None;
    }

    /// The destination has it. After a crash it may be here again.
    ///
    /// # Errors
    /// When the disk does not let it go.
    pub fn remove(&mut self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.path(number, BATCH)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.forget(number),
        }
        Ok(())
    }

    fn forget(&mut self, number: u64) {
        self.bytes -= self.sizes.remove(&number).unwrap_or_default();
        self.sending = self.sending.filter(|sending| *sending != number);
    }

    fn limit_set_aside(&self) -> io::Result<()> {
        let mut bad = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == BAD) {
                bad.push(path);
            }
        }
        bad.sort();
        let too_many = bad.len().saturating_sub(MAX_SET_ASIDE);
        bad[..too_many].iter().try_for_each(fs::remove_file)
    }

    /// With leading zeros: names sort as numbers do.
    fn path(&self, number: u64, extension: &str) -> PathBuf {
        self.folder.join(format!("{number:020}.{extension}"))
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}
