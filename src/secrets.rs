//! The installation's keys: given by configuration, or made once and kept beside the embedded
//! database.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use kernel::{
    Secret, World,
    secret::{Key, default_sealing_key},
};

use crate::config::Config;

/// What everything secret goes back to.
pub struct Keys {
    pub master: Key,
    pub sealing: Key,
    /// From which the passwords of the modules' database roles are derived.
    pub role_secret: Secret,
}

impl Keys {
    /// # Errors
    /// When a key is not what it should be, or the file of keys cannot be read or made.
    pub fn load(config: &Config, world: &World) -> anyhow::Result<Self> {
        let host = &config.host;
        if !config.hosts_any() {
            // A gateway alone has nothing to keep secret, and must not be given what others have.
            return Ok(Self {
                master: Key::new(world.bytes()),
                sealing: Key::new(world.bytes()),
                role_secret: Secret::new(String::new()),
            });
        }
        let kept = |name: &str, given: &Secret| -> anyhow::Result<Secret> {
            if given.expose().is_empty() {
                read_or_make(&host.server.data_dir.join("secrets"), name, world)
            } else {
                Ok(given.clone())
            }
        };
        let master = key(
            &kept("master_key", &host.secrets.master_key)?,
            "secrets.master_key",
        )?;
        let sealing = match host.secrets.sealing_key.expose() {
            "" => default_sealing_key(&master),
            _ => key(&host.secrets.sealing_key, "secrets.sealing_key")?,
        };
        let role_secret = kept("role_secret", &host.database.role_secret)?;
        Ok(Self {
            master,
            sealing,
            role_secret,
        })
    }
}

/// A key as configuration writes it.
pub fn key(text: &Secret, name: &str) -> anyhow::Result<Key> {
    let bytes = BASE64_STANDARD
        .decode(text.expose().trim())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .with_context(|| {
            format!("{name} must be 32 bytes in base64: `openssl rand -base64 32` makes one")
        })?;
    Ok(Key::new(bytes))
}

/// A secret of its own file, 0600 in a folder 0700. Two processes that start at once agree on one:
/// the file is linked into place whole, and only if there is none.
fn read_or_make(folder: &Path, name: &str, world: &World) -> anyhow::Result<Secret> {
    let path = folder.join(name);
    let place = || format!("the secret {}", path.display());
    if !path
        .try_exists()
        .with_context(|| format!("{} may not be read by this user: run as its owner", place()))?
    {
        // New keys could not open what the old ones sealed.
        ensure!(
            !folder.with_file_name("postgres").exists(),
            "{} is missing, and the database beside it was made with it: restore it from a backup",
            place()
        );
        fs::DirBuilder::new()
            .recursive(true)
            .create(folder)
            .and_then(|()| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            })
            .with_context(place)?;
        let draft = folder.join(format!(".{name}.{}", world.uuid()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .with_context(place)?;
        file.write_all(BASE64_STANDARD.encode(world.bytes::<32>()).as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(place)?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft).with_context(place)?;
        if let Err(error) = linked
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error).with_context(place);
        }
    }
    let mode = fs::metadata(&path).with_context(place)?.mode();
    ensure!(
        mode & 0o077 == 0,
        "{} can be read by others: chmod 600 {}",
        place(),
        path.display()
    );
    let text = fs::read_to_string(&path).with_context(place)?;
    ensure!(
        !text.trim().is_empty(),
        "{} is empty: restore it from a backup",
        place()
    );
    Ok(Secret::new(text.trim()))
}
