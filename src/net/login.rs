//! The logins of open connections: they follow the credentials that an application renews, and no call fails for that.
//!
//! A connection logs in again between the requests of its callers. Where a protocol has no request for that, another
//! connection takes its place, and it ends with its last request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;

use super::connection::Connection;
use super::handshake::{DedicatedConnection, Handshake};
use super::request::PendingReply;
use super::server::Server;
use crate::credentials::{CredentialSource, Credentials};
use crate::error::{Error, ErrorKind, Result};

/// The least time for which a connection that was replaced stays open: a caller may be about to send on it.
const RETIREMENT: Duration = Duration::from_secs(1);
/// The time between two attempts to replace connections.
const PAUSE: Duration = Duration::from_secs(1);

/// The logins of a server's connections that are under way.
#[derive(Default)]
pub(super) struct Logins {
    /// Those whose reply has not come.
    sent: Vec<Login>,
    retired: Vec<(Arc<Connection>, Instant)>,
    /// The time of the last attempt to replace a connection that failed.
    failed: Option<Instant>,
}

/// A login that was sent.
struct Login {
    connection: Arc<Connection>,
    credentials: Arc<Credentials>,
    /// Those of the login before, which counts until the server accepts the new one.
    before: Option<Arc<Credentials>>,
    reply: PendingReply,
}

impl Drop for Logins {
    fn drop(&mut self) {
        self.retired.iter().for_each(|(connection, _)| end(connection));
    }
}

impl Server {
    fn source(&self) -> Option<&CredentialSource> {
        self.protocol.credentials()
    }

    /// Waits until there are credentials to connect with.
    pub(super) async fn credentials_ready(&self) -> Result<()> {
        match self.source() {
            Some(source) => source.ready(self.config.connect_timeout).await,
            None => Ok(()),
        }
    }

    /// Completes when there may be other credentials to connect with.
    pub(super) async fn other_credentials(&self) {
        match self.source() {
            Some(source) => source.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Has open connections log in with the newest credentials. Waits only for connections that replace others.
    pub(super) async fn renew_logins(&self, logins: &mut Logins) {
        let Some(source) = self.source().filter(|source| source.is_renewed()) else { return };
        self.take_replies(source, logins);
        logins.retired.retain(|(connection, since)| {
            let is_over = connection.is_broken() || connection.load() == 0 && since.elapsed() > RETIREMENT;
            if is_over {
                end(connection);
            }
            !is_over
        });
        let Some(newest) = source.newest() else { return };
        for slot in &self.connections {
            let Some(connection) = slot.load_full().filter(|it| !it.is_broken() && it.has_other_login(&newest)) else {
                continue;
            };
            match self.protocol.login_request(&newest) {
                Some(request) => logins.sent.extend(log_in(&connection, &newest, &request)),
                None if logins.failed.is_some_and(|failed| failed.elapsed() < PAUSE) => return,
                None => match self.replace(slot).await {
                    Ok(()) => logins.retired.push((connection, Instant::now())),
                    Err(error) => {
                        tracing::debug!(server = self.name(), "a connection was not renewed: {error}");
                        logins.failed = Some(Instant::now());
                        return;
                    }
                },
            }
        }
    }

    fn take_replies(&self, source: &CredentialSource, logins: &mut Logins) {
        logins.sent.retain_mut(|login| {
            let Some(reply) = (&mut login.reply).now_or_never() else { return true };
            // A connection that was lost has told so.
            let Ok(reply) = reply else { return false };
            if let Err(error) = self.protocol.login_reply(self.name(), &reply.bytes) {
                login.connection.log_in_with(login.before.clone());
                self.note_refusal(source, &login.credentials, &error);
            }
            false
        });
    }

    fn note_refusal(&self, source: &CredentialSource, credentials: &Arc<Credentials>, error: &Error) {
        tracing::warn!(server = self.name(), "a connection did not log in again: {error}");
        if error.kind() == ErrorKind::Auth {
            source.refused(credentials);
        }
    }

    /// Connects another connection in place of one that is in use.
    async fn replace(&self, slot: &ArcSwapOption<Connection>) -> Result<()> {
        let connection = self.connect(Arc::clone(&self.changed)).await?;
        self.catch_panic(self.adopt(&connection)).await?;
        self.count_connect();
        slot.store(Some(connection));
        Ok(())
    }
}

/// Dedicated connections.
impl Server {
    /// Returns true if the credentials of connections are renewed.
    pub fn renews_credentials(&self) -> bool {
        self.source().is_some_and(CredentialSource::is_renewed)
    }

    /// Returns true if a connection has logged in with other credentials than the newest.
    pub fn has_newer_credentials(&self, connection: &DedicatedConnection) -> bool {
        let newest = self.source().and_then(CredentialSource::newest);
        newest.is_some_and(|newest| connection.connection().is_ok_and(|it| it.has_other_login(&newest)))
    }

    /// Returns the request with which a connection logs in with the newest credentials, if it has others. The caller sends it,
    /// and has its reply checked.
    pub fn login_request(&self, connection: &DedicatedConnection) -> Option<Vec<u8>> {
        let (newest, connection) = (self.source()?.newest()?, connection.connection().ok()?);
        if !connection.has_other_login(&newest) {
            return None;
        }
        let request = self.protocol.login_request(&newest)?;
        connection.log_in_with(Some(newest));
        Some(request)
    }

    /// Checks the reply to `login_request`. If the server has refused, the connection keeps its former user.
    pub fn check_login(&self, connection: &DedicatedConnection, reply: &[u8]) {
        let Err(error) = self.protocol.login_reply(self.name(), reply) else { return };
        let credentials = connection.connection().ok().and_then(|connection| connection.credentials());
        if let Some((source, credentials)) = self.source().zip(credentials) {
            self.note_refusal(source, &credentials, &error);
        }
    }

    /// Has a connection that no request is on log in with the newest credentials, if it has others.
    pub async fn renew_login(&self, connection: &DedicatedConnection) -> Result<()> {
        if let Some(request) = self.login_request(connection) {
            let reply = connection.ask_all(&request, 1).await?;
            self.check_login(connection, &reply);
        }
        Ok(())
    }
}

fn log_in(connection: &Arc<Connection>, credentials: &Arc<Credentials>, request: &[u8]) -> Option<Login> {
    let reply = Handshake::new(connection).send(request, 1).ok()?;
    let before = connection.credentials();
    connection.log_in_with(Some(Arc::clone(credentials)));
    Some(Login { connection: Arc::clone(connection), credentials: Arc::clone(credentials), before, reply })
}

#[cold]
fn end(connection: &Connection) {
    let text = format!("{}: another connection with newer credentials has taken its place", connection.server());
    connection.kill(Error::new(ErrorKind::Connect, text));
}
