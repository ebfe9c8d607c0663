//! The trait of a protocol, and the handshake that makes a new connection usable.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::connection::{Connection, Identity};
use super::dial::{dial, is_tls_port};
use super::failure;
use super::reader::{Framing, MAX_REPLY, ReplyLimit};
use super::request::{InFlight, PendingReply};
use super::tls::Tls;
use crate::config::{Address, ConnectionConfig};
use crate::credentials::{CredentialSource, Credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::shown::shown;

/// The most letters of a server's name or address in messages.
pub const LONGEST_NAME: usize = 300;

/// A protocol, as far as connecting and framing need it.
pub trait Protocol: Send + Sync + 'static {
    /// Returns a framing of its replies for one connection.
    fn framing(&self) -> Box<dyn Framing>;
    /// Returns the limit of the length of replies.
    fn reply_limit(&self) -> ReplyLimit {
        ReplyLimit { one: MAX_REPLY, has_many: |_, _| true }
    }
    /// Returns the present address of the server. It is called before each attempt to connect.
    fn resolve(&self) -> BoxFuture<'_, Result<Address>>;
    /// Returns another address to try if the server is not at the last one; `None` if there is no other.
    fn resolve_next(&self) -> BoxFuture<'_, Result<Option<Address>>> {
        Box::pin(async { Ok(None) })
    }
    /// Returns the number of addresses that there may be to try: each gets its share of the time to connect.
    fn candidates(&self) -> u32 {
        1
    }
    /// Returns the source of the credentials of the server. They are got before each attempt to connect.
    fn credentials(&self) -> Option<&CredentialSource> {
        None
    }
    /// Returns the request with which an open connection logs in again, and whose one reply `login_reply` reads; `None` if a
    /// connection cannot: it is replaced then.
    fn login_request(&self, _credentials: &Credentials) -> Option<Vec<u8>> {
        None
    }
    /// Reads the reply to `login_request`.
    fn login_reply(&self, _server: &str, _reply: &[u8]) -> Result<()> {
        Ok(())
    }
    /// Makes a new connection usable: sends the credentials, and checks that the server is the wanted one.
    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>>;
    /// Makes a server fit for reads before others use its connection. It may take longer than connecting does.
    fn adopt<'a>(&'a self, _connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// Returns whether the server may move while its connections still work. Its address is then rechecked regularly.
    fn may_move(&self) -> bool {
        false
    }
    /// Returns a request whose reply shows whether the server still has the role and the data that the handshake of an
    /// open connection found; `None` if there is nothing to check at present.
    fn role_check(&self, _identity: Identity) -> Option<&'static [u8]> {
        None
    }
    /// Returns whether such a reply comes from a server that has changed since the handshake found this identity.
    fn has_changed_role(&self, _identity: Identity, _reply: &[u8]) -> bool {
        false
    }
    /// Returns a request that every server answers with one reply.
    fn ping(&self) -> &'static [u8];
    /// Returns the most bytes of several requests that share a write over TLS; `None` if requests may be cut anywhere.
    fn record_limit(&self) -> Option<usize> {
        None
    }
}

/// A connection that only its handshake uses: its requests belong to no call, and no close waits for them.
pub struct Handshake<'a> {
    connection: &'a Arc<Connection>,
    in_flight: Arc<InFlight>,
}

impl<'a> Handshake<'a> {
    /// Begins a handshake on a connection.
    pub(super) fn new(connection: &'a Arc<Connection>) -> Self {
        Self { connection, in_flight: Arc::new(InFlight::new(u64::MAX, u64::MAX)) }
    }

    /// Returns the server's name, as messages use it.
    pub fn server(&self) -> &str {
        self.connection.server()
    }

    /// Sends a request; returns the bytes of its one reply.
    pub async fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        self.ask_all(request, 1).await
    }

    /// Sends several requests at once; returns the bytes of their replies.
    pub async fn ask_all(&self, requests: &[u8], replies: u32) -> Result<Vec<u8>> {
        Ok(self.send(requests, replies)?.await?.bytes)
    }

    /// Sends several requests at once.
    pub(super) fn send(&self, requests: &[u8], replies: u32) -> Result<PendingReply> {
        let permit = self.in_flight.acquire(self.server(), requests.len())?;
        self.connection.send(CallContext::task(), requests, replies, permit)
    }

    /// Returns the credentials of the connection, if the server is used with any.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        self.connection.credentials()
    }

    /// Returns the identity of the process that answers, as the handshake learned it.
    pub fn identity(&self) -> Identity {
        self.connection.identity()
    }

    /// Records the process that answers.
    pub fn identify(&self, identity: Identity) {
        self.connection.identify(identity);
    }
}

/// A new connection. It is closed unless it is accepted, also when the future that makes it is dropped.
pub(super) struct NewConnection(Option<Arc<Connection>>);

impl NewConnection {
    /// Guards a connection until it is accepted.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self(Some(connection))
    }

    /// Returns the connection, which stays open from now on.
    pub fn accept(mut self) -> Result<Arc<Connection>> {
        self.0.take().ok_or_else(given_up)
    }
}

impl Drop for NewConnection {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.kill(given_up());
        }
    }
}

#[cold]
fn given_up() -> Error {
    Error::new(ErrorKind::Connect, "the connection attempt was abandoned")
}

/// A connection of one caller. It is closed when this is dropped.
pub struct DedicatedConnection {
    connection: NewConnection,
    /// The address that was known before it was made.
    address: Option<Address>,
}

impl DedicatedConnection {
    /// Dedicates a connection to its caller.
    pub(super) fn new(connection: Arc<Connection>, address: Option<Address>) -> Self {
        Self { connection: NewConnection::new(connection), address }
    }

    /// Returns the address that was known before it was made.
    pub(super) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Returns the identity of the process that answers.
    pub fn identity(&self) -> Identity {
        self.connection().map(|connection| connection.identity()).unwrap_or_default()
    }

    /// Sends several requests at once; returns the bytes of their replies.
    pub async fn ask_all(&self, requests: &[u8], replies: u32) -> Result<Vec<u8>> {
        Handshake::new(self.connection()?).ask_all(requests, replies).await
    }

    /// Returns the connection.
    pub(super) fn connection(&self) -> Result<&Arc<Connection>> {
        self.connection.0.as_ref().ok_or_else(given_up)
    }
}

/// Connects to a server and makes the handshake. `broken` is woken when the connection breaks.
pub(super) async fn establish(
    name: &str,
    address: &Address,
    protocol: &dyn Protocol,
    config: &ConnectionConfig,
    tls: Option<&Tls>,
    broken: Arc<Notify>,
) -> Result<Arc<Connection>> {
    let at = shown(address.to_string().as_bytes(), LONGEST_NAME);
    let server = if name.contains(&at) { name.to_owned() } else { format!("{name} ({at})") };
    let credentials = match protocol.credentials() {
        // Less than the time to connect, so that the error names the credentials.
        Some(source) => source.get(config.connect_timeout / 2).await?,
        None => None,
    };
    let ready = match tls {
        Some(tls) => Some(tls.ready().await),
        None => None,
    };
    let socket = dial(address, config, ready.as_ref(), protocol.ping())
        .await
        .map_err(|error| failure::connecting(&server, &error))?;
    let connection = Arc::new(Connection::new(server.into(), socket, protocol, broken));
    connection.log_in_with(credentials.clone());
    tokio::spawn(Arc::clone(&connection).drive());
    let guard = NewConnection::new(Arc::clone(&connection));
    let agreed = protocol.handshake(&Handshake::new(&connection)).await;
    if tls.is_none() && connection.has_hung_up() && is_tls_port(address).await {
        return Err(failure::speaks_tls(connection.server()));
    }
    if let Some((source, credentials)) = protocol.credentials().zip(credentials) {
        match &agreed {
            Ok(()) => source.accepted(&credentials),
            Err(error) if error.kind() == ErrorKind::Auth => source.refused(&credentials),
            Err(_) => {}
        }
    }
    agreed?;
    guard.accept()
}

/// Sends one request over a connection of its own; returns the bytes of the one reply.
pub async fn ask_once(
    name: &str,
    protocol: &dyn Protocol,
    config: &ConnectionConfig,
    tls: Option<&Tls>,
    request: &[u8],
) -> Result<Vec<u8>> {
    let address = protocol.resolve().await?;
    let connection = Box::pin(establish(name, &address, protocol, config, tls, Arc::default())).await?;
    let guard = NewConnection::new(Arc::clone(&connection));
    let reply = Handshake::new(&connection).ask(request).await;
    drop(guard);
    reply
}
