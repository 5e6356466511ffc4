//! Blobs as files in a folder.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use async_trait::async_trait;
use axum::body::Bytes;

use super::{BlobStore, Key};

/// Each in a folder named by the first letters of its key: one folder of a million files is slow to list
/// and to back up. Cheap to clone: blocking calls take it along.
#[derive(Clone)]
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// # Errors
    /// When the folder cannot be made or written to: better at the start than at the first picture.
    pub(super) fn open(root: PathBuf) -> anyhow::Result<Self> {
        let tried = root.join(".writable");
        fs::create_dir_all(&root)
            .and_then(|()| fs::write(&tried, b""))
            .and_then(|()| fs::remove_file(&tried))
            .with_context(|| format!("profile.disk_path: {}", root.display()))?;
        Ok(Self { root })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(&key.0[..2]).join(&key.0)
    }

    /// Under its final name only when all of it is on the disk: a crash leaves the old one, or the new.
    fn write(&self, key: &Key, content: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let folder = path.parent().expect("a folder below the root");
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            sync(&self.root)?;
        }
        let new = unfinished(&path);
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync(folder)
    }

    fn remove(&self, key: &Key) -> io::Result<()> {
        let path = self.path(key);
        // Left by a process that died while writing.
        for path in [unfinished(&path), path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// One name per key, so that what a crash leaves goes with the key.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// A new or renamed entry of a folder is on the disk when the folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let done = tokio::task::spawn_blocking(work).await?;
    done.context("the folder of pictures (profile.disk_path)")
}

#[async_trait]
impl BlobStore for Disk {
    async fn put(&self, key: &Key, content: Bytes) -> anyhow::Result<()> {
        let (disk, key) = (self.clone(), key.clone());
        blocking(move || disk.write(&key, &content)).await
    }

    async fn get(&self, key: &Key) -> anyhow::Result<Option<Bytes>> {
        let path = self.path(key);
        blocking(move || match fs::read(path) {
            Ok(content) => Ok(Some(Bytes::from(content))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn delete(&self, key: &Key) -> anyhow::Result<()> {
        let (disk, key) = (self.clone(), key.clone());
        blocking(move || disk.remove(&key)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_crash_leaves_is_not_read_and_goes_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path().join("blobs")).unwrap();
        let key = Key("ab-96".to_owned());
        disk.put(&key, Bytes::from_static(b"old")).await.unwrap();
        let half = unfinished(&disk.path(&key));
        fs::write(&half, b"ne").unwrap();
        assert_eq!(disk.get(&key).await.unwrap().unwrap(), "old");
        disk.delete(&key).await.unwrap();
        assert!(!half.exists());
        assert_eq!(disk.get(&key).await.unwrap(), None);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = Disk::open(file.join("blobs"))
            .err()
            .expect("a file is no folder");
        assert!(format!("{error:#}").contains("profile.disk_path"));
    }
}
