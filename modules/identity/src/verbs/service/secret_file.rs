//! The file that a service's secret is kept in: readable for its owner alone, and there whole or not
//! at all.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, ensure};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::domain::ServiceSecret;

/// The secret in the file, if there is one.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<ServiceSecret>> {
    let shown = path.display();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("--secret-file {shown}")),
    };
    let mode = file.metadata()?.mode();
    ensure!(
        mode & 0o077 == 0,
        "--secret-file {shown} can be read by others: chmod 600 {shown}"
    );
    let mut text = Zeroizing::new(String::new());
    file.take(1_024)
        .read_to_string(&mut text)
        .with_context(|| format!("--secret-file {shown}"))?;
    let secret = ServiceSecret::parse(text.trim_end_matches(['\r', '\n']));
    let secret = secret.with_context(|| {
        format!("--secret-file {shown} holds something else than a service's secret")
    })?;
    Ok(Some(secret))
}

/// Writes the secret, or gives the one that somebody has put there meanwhile.
pub(super) fn write_new(path: &Path, secret: ServiceSecret) -> anyhow::Result<ServiceSecret> {
    match draft(path, &secret)?.persist_noclobber(path) {
        Ok(_) => {
            sync_folder(path)?;
            Ok(secret)
        }
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => {
            read(path)?.context("--secret-file comes and goes")
        }
        Err(refused) => {
            Err(refused.error).with_context(|| format!("--secret-file {}", path.display()))
        }
    }
}

/// Puts the secret in place of what the file holds.
pub(super) fn replace(path: &Path, secret: &ServiceSecret) -> anyhow::Result<()> {
    let draft = draft(path, secret)?;
    let kept = draft.persist(path).map_err(|refused| refused.error);
    kept.with_context(|| format!("--secret-file {}", path.display()))?;
    sync_folder(path)
}

/// Beside its place, so that it can be moved there; `tempfile` makes it 0600.
fn draft(path: &Path, secret: &ServiceSecret) -> anyhow::Result<NamedTempFile> {
    let write = || {
        let mut draft = NamedTempFile::new_in(folder(path))?;
        writeln!(draft, "{}", secret.expose())?;
        draft.as_file().sync_all()?;
        Ok(draft)
    };
    write().map_err(|error: std::io::Error| {
        anyhow::Error::from(error).context(format!("--secret-file {}", path.display()))
    })
}

/// A name is kept by its folder: without this, a power cut may leave the file without one.
fn sync_folder(path: &Path) -> anyhow::Result<()> {
    Ok(fs::File::open(folder(path))?.sync_all()?)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use kernel::World;

    use super::*;

    #[test]
    fn a_secret_is_written_once_and_replaced_only_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let [first, second] = [(); 2].map(|()| ServiceSecret::random(&World::system()));
        assert!(read(&path).unwrap().is_none());
        let kept = write_new(&path, first.clone()).unwrap();
        assert_eq!(kept.expose(), first.expose());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let kept = write_new(&path, second.clone()).unwrap();
        assert_eq!(kept.expose(), first.expose());

        replace(&path, &second).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().expose(), second.expose());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_can_read_or_is_no_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_new(&path, ServiceSecret::random(&World::system())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(!error.contains("hunter2"), "{error}");
        let missing = folder.path().join("no/such/folder");
        assert!(replace(&missing, &ServiceSecret::random(&World::system())).is_err());
    }
}
