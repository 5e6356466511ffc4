//! Users with passwords, for a configuration that takes those from the environment.

use std::{
    io,
    path::{Path, PathBuf},
};

/// No secret, but to whoever guesses nothing: for servers of tests and measurements alone.
pub fn password(user: &str) -> String {
    format!("password-of-{user}")
}

/// Where [`configure`] leaves a user's password.
pub fn password_file(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{user}.password"))
}

/// Writes the configuration to a file in `folder`, with a password for each `$<USER>_PASSWORD`.
pub fn configure(configuration: &str, folder: &Path) -> io::Result<PathBuf> {
    let mut configured = configuration.to_owned();
    let words = configuration.split(|c: char| !(c.is_ascii_uppercase() || "$_".contains(c)));
    for word in words {
        let user = word.strip_prefix('$');
        if let Some(user) = user.and_then(|user| user.strip_suffix("_PASSWORD")) {
            let user = user.to_lowercase();
            configured = configured.replace(word, &password(&user));
            std::fs::write(password_file(folder, &user), password(&user))?;
        }
    }
    let file = folder.join("nats.conf");
    std::fs::write(&file, configured)?;
    Ok(file)
}
