//! The task that keeps a server connected: it connects, checks idle connections, and rechecks a server's address.
//!
//! It makes one attempt to connect at a time, so that no outage ends in a storm of connections.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::failure;
use super::handshake::{DedicatedConnection, Handshake, LONGEST_NAME, NewConnection, establish};
use super::login::Logins;
use super::request::{PendingReply, RawReplies};
use super::server::{Server, Status};
use crate::config::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::util::lock;
use crate::util::shown::shown;

/// The first pause between two attempts to connect.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a server that is back is found within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The time between two checks of the address of a server that may move.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two checks of the connections.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The time between two checks of the role of a server.
const ROLE_INTERVAL: Duration = Duration::from_secs(1);
/// The bounds of the silence that breaks a connection with requests in flight. Between them, the timeout of a call
/// counts.
const SILENCE: (Duration, Duration) = (Duration::from_millis(1000), Duration::from_millis(2500));

/// Keeps a server connected until it is closed.
pub(super) async fn supervise(server: Arc<Server>) {
    let mut backoff = Backoff::between(CallContext::task(), FIRST_PAUSE, LONGEST_PAUSE);
    let mut resolved = Instant::now();
    let mut role_check = RoleCheck { begun: Instant::now(), reply: None };
    let mut logins = Logins::default();
    while !server.closed.load(Relaxed) {
        match server.reconnect_missing().await {
            Ok(()) => {
                backoff.reset();
                let _ = timeout(CHECK_INTERVAL, server.changed.notified()).await;
                server.check_idle();
                server.check_role(&mut role_check);
                if server.protocol.may_move() && resolved.elapsed() > ADDRESS_INTERVAL {
                    resolved = Instant::now();
                    Box::pin(server.recheck_address()).await;
                }
            }
            Err(error) => {
                server.note_failure(&error);
                tokio::select! {
                    () = server.closing.notified() => {}
                    () = server.other_credentials() => {}
                    () = sleep(backoff.next_pause()) => {}
                }
                // The connections that are left may have ended too, and no caller would find out.
                server.check_idle();
            }
        }
        server.note_loss();
        Box::pin(server.renew_logins(&mut logins)).await;
    }
    server.stop();
}

/// The last check of a server's role.
struct RoleCheck {
    begun: Instant,
    /// The reply, until it has come.
    reply: Option<PendingReply>,
}

/// Connecting.
impl Server {
    /// Opens a connection that only this caller uses, and that reads no entries. It goes to the address of the other
    /// connections: the supervisor alone asks whether the server has moved.
    pub async fn connect_to_listen(&self) -> Result<DedicatedConnection> {
        let address = self.address();
        self.credentials_ready().await?;
        let connection = match &address {
            Some(address) => {
                let (protocol, tls) = (&*self.protocol, self.tls.as_ref());
                self.connect_within(establish(self.name(), address, protocol, &self.config, tls, Arc::default()))
                    .await?
            }
            None => self.connect(Arc::default()).await?,
        };
        // Publications would go to the other process, and its listener would not get them.
        self.close_outdated(&connection);
        Ok(DedicatedConnection::new(connection, address))
    }

    /// Returns true if the other connections are to another server than a dedicated one is, or will be.
    pub fn has_left(&self, connection: &DedicatedConnection) -> bool {
        let has_moved = connection.address().is_some_and(|address| self.address().as_ref() != Some(address));
        let identity = connection.identity();
        let is_another = |other: &Arc<Connection>| other.identity().reported && other.identity() != identity;
        has_moved || identity.reported && self.open_connections().any(|other| is_another(&other))
    }

    /// Opens a connection as `connect_to_listen` does, for a request that holds it up and whose server has to be fit for reads.
    pub async fn connect_dedicated(&self) -> Result<DedicatedConnection> {
        let dedicated = self.connect_to_listen().await?;
        self.protocol.adopt(&Handshake::new(dedicated.connection()?)).await?;
        Ok(dedicated)
    }

    /// Connects once, within the time to connect.
    pub(super) async fn connect(&self, broken: Arc<Notify>) -> Result<Arc<Connection>> {
        self.credentials_ready().await?;
        self.connect_within(self.connect_somewhere(broken)).await
    }

    async fn connect_within(
        &self,
        connecting: impl Future<Output = Result<Arc<Connection>>>,
    ) -> Result<Arc<Connection>> {
        // Boxed: it is large, and the thread that opens a cache may have a small stack.
        let connected = timeout(self.config.connect_timeout, Box::pin(self.catch_panic(connecting))).await;
        connected.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// Tries the addresses where the server may be, one after another.
    async fn connect_somewhere(&self, broken: Arc<Notify>) -> Result<Arc<Connection>> {
        let mut address = self.protocol.resolve().await?;
        loop {
            let error = match self.connect_to(&address, Arc::clone(&broken)).await {
                Ok(connection) => {
                    *lock(&self.address) = Some(address);
                    return Ok(connection);
                }
                Err(error) => error,
            };
            match self.protocol.resolve_next().await {
                Ok(Some(next)) => {
                    tracing::debug!(server = self.name(), "{error}; trying {next}");
                    address = next;
                }
                _ => return Err(error),
            }
        }
    }

    async fn connect_to(&self, address: &Address, broken: Arc<Notify>) -> Result<Arc<Connection>> {
        let connecting = establish(self.name(), address, &*self.protocol, &self.config, self.tls.as_ref(), broken);
        let share = self.config.connect_timeout / self.protocol.candidates().max(1);
        timeout(share, Box::pin(connecting)).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    #[cold]
    fn too_late(&self) -> Error {
        failure::connecting(self.name(), &std::io::ErrorKind::TimedOut.into())
    }

    /// Turns a panic over a server's reply into an error, so that the supervisor continues.
    pub(super) async fn catch_panic<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let asked = AssertUnwindSafe(asking).catch_unwind().await;
        asked.unwrap_or_else(|payload| Err(failure::panicked(self.name(), payload)))
    }

    /// Connects each empty slot; stops at the first failure.
    async fn reconnect_missing(&self) -> Result<()> {
        for slot in &self.connections {
            if slot.load().as_ref().is_some_and(|connection| !connection.is_broken()) {
                continue;
            }
            slot.store(None);
            let connection = self.connect(Arc::clone(&self.changed)).await?;
            self.catch_panic(self.adopt(&connection)).await?;
            let again = self.count_connect();
            slot.store(Some(connection));
            if !matches!(self.status.send_replace(Status::Up), Status::Up) {
                tracing::info!(server = self.name(), "{}", if again { "connected again" } else { "connected" });
            }
        }
        Ok(())
    }

    /// Closes the connections to another process than that of a new one.
    fn close_outdated(&self, new: &Arc<Connection>) {
        let identity = new.identity();
        let is_outdated = |other: &Arc<Connection>| identity.reported && other.identity() != identity;
        let error = || Error::new(ErrorKind::Connect, format!("{}: another server has taken its place", self.name()));
        self.open_connections().filter(is_outdated).for_each(|other| other.kill(error()));
    }

    /// Makes the server fit for reads. Connections to another process are closed first: a write that it still takes
    /// could be one that this process has to get too.
    pub(super) async fn adopt(&self, connection: &Arc<Connection>) -> Result<()> {
        self.close_outdated(connection);
        let guard = NewConnection::new(Arc::clone(connection));
        self.protocol.adopt(&Handshake::new(connection)).await?;
        guard.accept().map(drop)
    }
}

/// Checks of the connections.
impl Server {
    /// Records that the server cannot be connected to, if no connection is left.
    fn note_failure(&self, error: &Error) {
        if self.open_connections().next().is_none() {
            let known = matches!(&*self.status.borrow(), Status::Down(known) if known.kind() == error.kind());
            if !known {
                tracing::warn!(server = self.name(), "{error}");
            }
            self.status.send_replace(Status::Down(error.clone()));
        }
    }

    /// Records the loss of the last connection.
    fn note_loss(&self) {
        self.drop_broken();
        let none_left = self.open_connections().next().is_none();
        // Callers wait for the first attempt; while attempts fail again and again, calls fail at once.
        if none_left && matches!(&*self.status.borrow(), Status::Up) {
            self.status.send_replace(Status::Connecting);
        }
    }

    fn drop_broken(&self) {
        for slot in &self.connections {
            let Some(connection) = slot.load_full().filter(|connection| connection.is_broken()) else { continue };
            slot.store(None);
            if let Some(error) = connection.failure().filter(|_| !self.closed.load(Relaxed)) {
                tracing::warn!(server = self.name(), "a connection was lost: {error}");
            }
        }
    }

    /// Closes the connections if the server is at another address now.
    async fn recheck_address(&self) {
        if let Ok(Ok(now)) = timeout(self.config.connect_timeout, self.catch_panic(self.protocol.resolve())).await {
            let known = lock(&self.address).clone();
            // The new address may be wrong: it is connected to before the old one is left.
            if known.is_some_and(|known| known != now) && self.is_at(&now).await {
                let text = format!(
                    "{}: the server has moved to {}",
                    self.name(),
                    shown(now.to_string().as_bytes(), LONGEST_NAME)
                );
                self.open_connections()
                    .for_each(|connection| connection.kill(Error::new(ErrorKind::Connect, text.clone())));
            }
        }
    }

    async fn is_at(&self, address: &Address) -> bool {
        let connection = self.connect_to(address, Arc::default()).await;
        connection.map(|connection| drop(NewConnection::new(connection))).is_ok()
    }

    /// Checks connections without a leader, and pings those that have been idle for the health check interval.
    fn check_idle(&self) {
        let silence = self.config.timeout.clamp(SILENCE.0, SILENCE.1);
        for connection in self.open_connections() {
            connection.check(silence);
            let interval = self.config.health_check_interval;
            if !interval.is_zero() && connection.load() == 0 && connection.idle() > interval {
                self.ping(&connection);
            }
        }
    }

    /// Closes the connections if the server was demoted or promoted although they stayed open: its data may be that of
    /// another server, and has to be made fit for reads again. Never waits for the reply.
    fn check_role(&self, check: &mut RoleCheck) {
        if let Some(reply) = check.reply.as_mut() {
            let Some(replies) = reply.now_or_never() else { return };
            check.reply = None;
            let is_another = |it: RawReplies| self.protocol.has_changed_role(it.connection.identity(), &it.bytes);
            if replies.is_ok_and(is_another) {
                let text = format!("{}: the server was demoted or promoted; it is connected again", self.name());
                let error = Error::new(ErrorKind::Connect, text);
                self.open_connections().for_each(|connection| connection.kill(error.clone()));
            }
        } else if check.begun.elapsed() > ROLE_INTERVAL
            && let Some(connection) = self.open_connections().next()
            && let Some(request) = self.protocol.role_check(connection.identity())
        {
            check.begun = Instant::now();
            check.reply = Handshake::new(&connection).send(request, 1).ok();
        }
    }

    /// Sends a ping without waiting for its reply: a connection that gives none falls silent.
    fn ping(&self, connection: &Arc<Connection>) {
        if let Ok(permit) = self.in_flight.acquire(self.name(), 0) {
            drop(connection.send(CallContext::task(), self.protocol.ping(), 1, permit));
        }
    }
}
