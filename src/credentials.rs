//! The credentials of connections, and their source.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// The most bytes of a password file.
const LONGEST_FILE: u64 = 64 * 1024;

/// The credentials with which a connection logs in.
#[derive(PartialEq, Eq)]
pub struct Credentials {
    /// `None`: the server's default user.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Secret,
}

/// The source of the credentials of servers.
pub struct CredentialSource(Origin);

enum Origin {
    /// The servers are used without credentials.
    None,
    /// The configuration has them.
    Fixed(Arc<Credentials>),
    /// A file has the password.
    File { username: Option<String>, path: PathBuf },
}

impl CredentialSource {
    /// Returns the source that a configuration names.
    pub fn new(username: Option<&String>, password: Option<&Secret>, file: Option<&PathBuf>) -> Self {
        let username = username.cloned();
        Self(match (password.cloned(), file.cloned()) {
            (Some(password), _) => Origin::Fixed(Arc::new(Credentials { username, password })),
            (None, Some(path)) => Origin::File { username, path },
            (None, None) => Origin::None,
        })
    }

    /// Returns true if servers are used with credentials.
    pub fn is_some(&self) -> bool {
        !matches!(self.0, Origin::None)
    }

    /// Returns the credentials for a new connection. A password file is read each time, on a thread that may block.
    pub async fn get(&self) -> Result<Option<Arc<Credentials>>> {
        match &self.0 {
            Origin::None => Ok(None),
            Origin::Fixed(credentials) => Ok(Some(Arc::clone(credentials))),
            Origin::File { username, path } => {
                let (username, path) = (username.clone(), path.clone());
                let read = tokio::task::spawn_blocking(move || read(&path).map_err(|why| unreadable(&path, &why)));
                let password =
                    read.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the cache was closed")))?;
                Ok(Some(Arc::new(Credentials { username, password })))
            }
        }
    }
}

/// Reads a password, which a line end may follow. The reason of a failure never contains what was read.
fn read(path: &Path) -> std::result::Result<Secret, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(format!("it has more than {LONGEST_FILE} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(Secret::new(text)) }
}

#[cold]
fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Auth, format!("password_file: no password was read from {}: {why}", path.display()))
}

#[cfg(test)]
mod tests;
