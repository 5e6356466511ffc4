//! Where the cluster lies and whose it is.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, chown, geteuid};

use crate::error::io;
use crate::{Error, PORT, Password};

/// Where clusters go whose asked folder the server's user cannot enter. Only root writes here.
const ELSEWHERE: &str = "/var/lib/banyan";

/// What `sockaddr_un` has room for, less the terminating zero.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Whom the server runs as, when that is not this process's own user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The folder of one cluster, made ready: it exists, is private and belongs to the server's user.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    moved_from: Option<PathBuf>,
    user: Option<User>,
}

impl Place {
    pub(crate) fn settle(asked: &Path) -> Result<Self, Error> {
        let asked = resolve(asked).map_err(io("cannot find the data folder", asked))?;
        if !geteuid().is_root() {
            return Self::make(asked, None, None);
        }

        let user = server_user(&asked)?;
        let barrier = barrier(&asked, user);
        if has_cluster(&asked) {
            return match barrier {
                None => Self::make(asked, None, Some(user)),
                // Beginning an empty cluster elsewhere would look like all data were lost.
                Some(barrier) => Err(Error::NotEnterable {
                    place: asked,
                    barrier,
                    user: name_of(user.uid),
                }),
            };
        }

        let elsewhere = Path::new(ELSEWHERE).join(fingerprint(&[asked.as_os_str().as_bytes()]));
        // Once the data went elsewhere it stays there, even if the asked folder opens up later.
        if barrier.is_none() && !has_cluster(&elsewhere) {
            return Self::make(asked, None, Some(user));
        }
        let user = server_user(&elsewhere)?;
        let place = Self::make(elsewhere, Some(asked), Some(user))?;
        place.note_origin()?;
        Ok(place)
    }

    fn make(dir: PathBuf, moved_from: Option<PathBuf>, user: Option<User>) -> Result<Self, Error> {
        make_parents(&dir)?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => refuse_foreign(&dir)?,
            Err(e) => return Err(io("cannot create the data folder", &dir)(e)),
        }

        let place = Self {
            dir,
            moved_from,
            user,
        };
        place.make_private(&place.dir)?;
        Ok(place)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn moved_from(&self) -> Option<&Path> {
        self.moved_from.as_deref()
    }

    pub(crate) fn user(&self) -> Option<User> {
        self.user
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.dir.join("host.lock")
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The major version that made the cluster; `None` when there is no cluster yet.
    pub(crate) fn cluster_version(&self) -> Result<Option<u32>, Error> {
        let file = self.cluster().join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse() {
                Ok(version) => Ok(Some(version)),
                Err(_) => Err(Error::UnreadableVersion { file }),
            },
            // A cluster gets its name only when it is complete, so one without the file is damaged.
            Err(e) if e.kind() == ErrorKind::NotFound && self.cluster().exists() => {
                Err(Error::UnreadableVersion { file })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io("cannot read", &file)(e)),
        }
    }

    /// A file of this place, never followed through a link: with root's rights, a link planted by
    /// the server's user would have us write anywhere.
    pub(crate) fn open_file(
        &self,
        path: &Path,
        options: &mut OpenOptions,
    ) -> Result<fs::File, Error> {
        let file = options
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(path)
            .map_err(io("cannot open", path))?;
        Ok(file)
    }

    /// Reads the superuser's password, making it first while there is no cluster that knows one.
    pub(crate) fn password(&self) -> Result<Password, Error> {
        if let Some(password) = self.read_password()? {
            return Ok(password);
        }
        let path = self.password_file();
        if has_cluster(&self.dir) {
            return Err(Error::PasswordLost { file: path });
        }
        use rand::distr::{Alphanumeric, SampleString};
        // 43 letters and digits carry 256 bits.
        let password = Alphanumeric.sample_string(&mut rand::rng(), 43);
        let mut file = self.open_file(
            &path,
            OpenOptions::new().write(true).create(true).truncate(true),
        )?;
        file.write_all(password.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(io("cannot write", &path))?;
        self.make_private(&path)?;
        Ok(Password(password))
    }

    pub(crate) fn read_password(&self) -> Result<Option<Password>, Error> {
        let path = self.password_file();
        let mut text = String::new();
        match self.open_file(&path, OpenOptions::new().read(true)) {
            Ok(mut file) => file
                .read_to_string(&mut text)
                .map_err(io("cannot read", &path))?,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        // Empty: the process was killed between creating and writing it.
        Ok((!text.is_empty()).then_some(Password(text)))
    }

    /// The folder for the socket: inside the place, or a short one of a name that nobody can guess,
    /// so that nobody can take it first in a shared /tmp.
    pub(crate) fn socket_dir(&self, password: &Password) -> Result<PathBuf, Error> {
        let inside = self.dir.join("socket");
        if fits(&inside) {
            self.make_dir(&inside)?;
            return Ok(inside);
        }

        let name = format!(
            "banyan-{}",
            fingerprint(&[self.dir.as_os_str().as_bytes(), password.0.as_bytes()])
        );
        let run = match self.user {
            Some(_) => Some(OsString::from("/run")),
            None => std::env::var_os("XDG_RUNTIME_DIR"),
        };
        let mut tried = Vec::new();
        for base in run.into_iter().chain([OsString::from("/tmp")]) {
            let dir = Path::new(&base).join(&name);
            if fits(&dir) && self.make_dir(&dir).is_ok() {
                return Ok(dir);
            }
            tried.push(dir.display().to_string());
        }
        Err(Error::SocketPath {
            path: inside,
            limit: SOCKET_PATH_LIMIT,
            tried: tried.join(", "),
        })
    }

    /// Makes a private folder of the server's user, or makes sure that an existing one is.
    pub(crate) fn make_dir(&self, dir: &Path) -> Result<(), Error> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                return Err(io("cannot create", dir)(e));
            }
            _ => {}
        }
        self.make_private(dir)
    }

    /// Gives a file or folder to the server's user and takes everybody else's rights away.
    fn make_private(&self, path: &Path) -> Result<(), Error> {
        let meta = fs::symlink_metadata(path).map_err(io("cannot look at", path))?;
        let own = geteuid().as_raw();
        let owner = self.user.map_or(own, |user| user.uid);
        if meta.is_symlink() || (meta.uid() != owner && meta.uid() != own) {
            return Err(Error::NotOurs {
                dir: path.to_owned(),
                owner: name_of(meta.uid()),
                user: name_of(own),
            });
        }
        if meta.mode() & 0o077 != 0 {
            let mode = if meta.is_dir() { 0o700 } else { 0o600 };
            fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(io("cannot make private", path))?;
        }
        if let Some(user) = self.user
            && meta.uid() != user.uid
        {
            chown(
                path,
                Some(Uid::from_raw(user.uid)),
                Some(Gid::from_raw(user.gid)),
            )
            .map_err(|e| io("cannot hand to the server's user", path)(e.into()))?;
        }
        Ok(())
    }

    /// Tells the administrator who finds the place which folder it stands for.
    fn note_origin(&self) -> Result<(), Error> {
        let path = self.dir.join("origin");
        let Some(origin) = &self.moved_from else {
            return Ok(());
        };
        if path.exists() {
            return Ok(());
        }
        let mut file = self.open_file(
            &path,
            OpenOptions::new().write(true).create(true).truncate(true),
        )?;
        writeln!(file, "{}", origin.display()).map_err(io("cannot write", &path))
    }
}

/// Absolute and free of links, as far as it exists; the rest is appended as it is.
fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    let mut existing = std::path::absolute(path)?;
    let mut rest = Vec::new();
    loop {
        match fs::canonicalize(&existing) {
            Ok(mut resolved) => {
                resolved.extend(rest.iter().rev());
                return Ok(resolved);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => match existing.file_name() {
                Some(name) => {
                    rest.push(name.to_owned());
                    existing.pop();
                }
                None => return Err(e),
            },
            Err(e) => return Err(e),
        }
    }
}

/// Whom root runs the server as: the owner of a folder that is there, else `postgres`, else `nobody`.
fn server_user(dir: &Path) -> Result<User, Error> {
    // Installing a package that creates `postgres` must not change the owner of existing data.
    if let Ok(meta) = fs::metadata(dir)
        && meta.uid() != 0
    {
        return Ok(User {
            uid: meta.uid(),
            gid: meta.gid(),
        });
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| nix::unistd::User::from_name(name).ok().flatten())
        .map(|user| User {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
        .ok_or(Error::NoUser)
}

/// The first folder above `dir` that the user cannot pass through, by the permission bits. Access
/// lists are not read: at worst one that lets the user in makes the data go elsewhere.
fn barrier(dir: &Path, user: User) -> Option<PathBuf> {
    let mut above = dir.ancestors().skip(1).collect::<Vec<_>>();
    above.reverse();
    above
        .into_iter()
        .find(|folder| match fs::metadata(folder) {
            Ok(meta) => {
                let execute = if meta.uid() == user.uid {
                    0o100
                } else if meta.gid() == user.gid {
                    0o010
                } else {
                    0o001
                };
                meta.mode() & execute == 0
            }
            // What does not exist yet will be made enterable.
            Err(_) => false,
        })
        .map(Path::to_owned)
}

/// Creates missing folders above the place so that other users can pass, whatever the umask says.
fn make_parents(dir: &Path) -> Result<(), Error> {
    let missing = dir
        .ancestors()
        .skip(1)
        .take_while(|folder| !folder.exists())
        .collect::<Vec<_>>();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755))
                .map_err(io("cannot set the permissions of", folder))?,
            // Another process was faster.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io("cannot create", folder)(e)),
        }
    }
    Ok(())
}

/// A mistyped data folder must not be taken from its owner: only one that is empty or holds a
/// cluster is ours. `lost+found` is what an empty mounted volume holds.
fn refuse_foreign(dir: &Path) -> Result<(), Error> {
    let mut entries = fs::read_dir(dir).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => match fs::metadata(dir) {
            Ok(meta) => Error::NotOurs {
                dir: dir.to_owned(),
                owner: name_of(meta.uid()),
                user: name_of(geteuid().as_raw()),
            },
            Err(_) => io("cannot look into the data folder", dir)(source),
        },
        _ => io("cannot look into the data folder", dir)(source),
    })?;
    let ours = dir.join("host.lock").exists() || has_cluster(dir);
    let foreign = entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found"));
    // Looked at again, since another process may have begun here in between.
    if foreign && !ours && !dir.join("host.lock").exists() {
        return Err(Error::Occupied {
            dir: dir.to_owned(),
        });
    }
    Ok(())
}

fn has_cluster(dir: &Path) -> bool {
    dir.join("cluster/PG_VERSION").exists()
}

fn fits(dir: &Path) -> bool {
    let socket = dir.join(format!(".s.PGSQL.{PORT}"));
    socket.as_os_str().len() <= SOCKET_PATH_LIMIT
}

/// A short name for long things: 64 bits of SHA-256 in hexadecimal.
fn fingerprint(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
        context.update(&[0]);
    }
    context.finish().as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn name_of(uid: u32) -> String {
    match nix::unistd::User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("the user with id {uid}"),
    }
}
