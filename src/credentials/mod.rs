//! The credentials of connections, and their source.

mod renewal;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::renewal::{CredentialRequest, Issuer, Renewal};
use crate::error::{Error, ErrorKind, Result};

/// The most bytes of a password file.
const LONGEST_FILE: u64 = 64 * 1024;

/// A password. It has no `Display`, and its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Returns the text itself, for the server alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

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
    /// The application supplies them.
    Renewed(Renewal),
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

    /// Returns the source of the credentials that the application supplies.
    pub fn renewed(renewal: &Renewal) -> Self {
        Self(Origin::Renewed(renewal.clone()))
    }

    /// Returns true if servers are used with credentials.
    pub fn is_some(&self) -> bool {
        !matches!(self.0, Origin::None)
    }

    /// Returns the credentials for a new connection. A password file is read each time, on a thread that may block. Waits for
    /// those of the application for a while.
    pub async fn get(&self, limit: Duration) -> Result<Option<Arc<Credentials>>> {
        match &self.0 {
            Origin::Renewed(renewal) => renewal.get(limit).await.map(Some),
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

/// Renewal, of which the other sources know nothing.
impl CredentialSource {
    fn renewal(&self) -> Option<&Renewal> {
        match &self.0 {
            Origin::Renewed(renewal) => Some(renewal),
            Origin::None | Origin::Fixed(_) | Origin::File { .. } => None,
        }
    }

    /// Returns true if the credentials are renewed while connections are open.
    pub fn is_renewed(&self) -> bool {
        self.renewal().is_some()
    }

    /// Waits until there are credentials for new connections, or fails with the reason why not.
    pub async fn ready(&self, limit: Duration) -> Result<()> {
        match self.renewal() {
            Some(renewal) => renewal.get(limit).await.map(drop),
            None => Ok(()),
        }
    }

    /// Returns the credentials that open connections should have.
    pub fn newest(&self) -> Option<Arc<Credentials>> {
        self.renewal()?.newest()
    }

    /// Notes that a server has refused credentials.
    pub fn refused(&self, credentials: &Arc<Credentials>) {
        if let Some(renewal) = self.renewal() {
            renewal.refused(credentials);
        }
    }

    /// Notes that a server has accepted credentials.
    pub fn accepted(&self, credentials: &Arc<Credentials>) {
        if let Some(renewal) = self.renewal() {
            renewal.accepted(credentials);
        }
    }

    /// Completes when there may be other credentials.
    pub async fn changed(&self) {
        match self.renewal() {
            Some(renewal) => renewal.changed().await,
            None => std::future::pending().await,
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
