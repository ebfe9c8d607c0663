//! One server: its connections, and the requests in flight to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::connection::Connection;
use super::handshake::{LONGEST_NAME, Protocol};
use super::request::{InFlight, PendingReply};
use super::supervisor::supervise;
use super::tls::Tls;
use crate::config::{Address, ConnectionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::clock::coarse_millis;
use crate::util::lock;
use crate::util::shown::shown;

/// The state of a server's connections.
#[derive(Clone)]
pub(super) enum Status {
    /// The first attempt is not over: callers wait.
    Connecting,
    Up,
    /// The server cannot be reached: calls fail at once with this error.
    Down(Error),
}

/// A server and its connections.
pub struct Server {
    name: Arc<str>,
    pub(super) config: ConnectionConfig,
    pub(super) tls: Option<Tls>,
    pub(super) protocol: Box<dyn Protocol>,
    pub(super) connections: Box<[ArcSwapOption<Connection>]>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) status: watch::Sender<Status>,
    /// Wakes the supervisor: a connection broke, or the server is to be closed.
    pub(super) changed: Arc<Notify>,
    pub(super) closed: AtomicBool,
    /// True if its cache continues without it.
    retired: AtomicBool,
    pub(super) closing: Notify,
    /// The number of connections that were opened.
    pub(super) connects: AtomicU64,
    oversized: AtomicU64,
    /// The address of the last connection.
    pub(super) address: Mutex<Option<Address>>,
    /// The time of the last `reconnect`.
    reconnected_ms: AtomicU64,
}

impl Server {
    /// Spawns the supervisor of a server, which begins to connect at once.
    pub fn spawn(
        name: &str,
        protocol: Box<dyn Protocol>,
        config: &ConnectionConfig,
        tls: Option<Tls>,
        handle: &Handle,
    ) -> Arc<Self> {
        let server = Arc::new(Self {
            // A cluster's nodes and a sentinel's primary are named by a server.
            name: shown(name.as_bytes(), LONGEST_NAME).into(),
            config: config.clone(),
            tls,
            protocol,
            connections: (0..config.pool_size.max(1)).map(|_| ArcSwapOption::empty()).collect(),
            in_flight: Arc::new(InFlight::new(config.max_pending.into(), config.max_pending_bytes)),
            status: watch::Sender::new(Status::Connecting),
            changed: Arc::new(Notify::new()),
            closed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            closing: Notify::new(),
            connects: AtomicU64::new(0),
            reconnected_ms: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
            address: Mutex::default(),
        });
        handle.spawn(supervise(Arc::clone(&server)));
        server
    }

    /// Returns the name that messages use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of requests in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.requests()
    }

    /// Returns the number of connections that are open.
    pub fn open(&self) -> u64 {
        self.open_connections().filter(|connection| !connection.is_broken()).count() as u64
    }

    /// Returns the number of connections made so far.
    pub fn connects(&self) -> u64 {
        self.connects.load(Relaxed)
    }

    /// Counts a connection that was made. Returns true if there were others before.
    pub(super) fn count_connect(&self) -> bool {
        self.connects.fetch_add(1, Relaxed) > 0
    }

    /// Returns the number of reconnections.
    pub fn reconnects(&self) -> u64 {
        self.connects.load(Relaxed).saturating_sub(self.connections.len() as u64)
    }

    /// Returns the number of values that were dropped because they are larger than any value of the cache.
    pub fn oversized(&self) -> u64 {
        let now: u64 = self.open_connections().map(|connection| connection.take_oversized()).sum();
        self.oversized.fetch_add(now, Relaxed) + now
    }

    /// Sends a request with so many replies on the least loaded connection; `None` without a connection.
    pub fn send(&self, context: CallContext, bytes: &[u8], replies: u32) -> Option<Result<PendingReply>> {
        let connection = self.least_loaded()?;
        let permit = self.in_flight.acquire(&self.name, bytes.len());
        Some(permit.and_then(|permit| connection.send(context, bytes, replies, permit)))
    }

    /// Sends a request that may not be sent twice. A connection that the server has closed while it was idle is skipped.
    /// Returns `None` also while another thread checks that.
    pub fn send_once(&self, context: CallContext, bytes: &[u8], replies: u32) -> Option<Result<PendingReply>> {
        loop {
            let connection = self.least_loaded()?;
            if connection.is_fit() {
                let permit = self.in_flight.acquire(&self.name, bytes.len());
                return Some(permit.and_then(|permit| connection.send(context, bytes, replies, permit)));
            }
            if !connection.is_broken() {
                return None;
            }
        }
    }

    /// Sends a request on a connection to the process that replied before, or on any other.
    pub fn send_to(
        &self,
        context: CallContext,
        process: u64,
        bytes: &[u8],
        replies: u32,
    ) -> Option<Result<PendingReply>> {
        let is_the_one = |it: &Arc<Connection>| !it.is_broken() && it.identity().process == process;
        let Some(connection) = self.open_connections().find(is_the_one) else {
            return self.send(context, bytes, replies);
        };
        let permit = self.in_flight.acquire(&self.name, bytes.len());
        Some(permit.and_then(|permit| connection.send(context, bytes, replies, permit)))
    }

    /// Waits until the server is connected, or known to be out of reach.
    pub async fn connected(&self) -> Result<()> {
        let mut status = self.status.subscribe();
        let settled = |status: &Status| match status {
            Status::Connecting => false,
            // All may be broken before the supervisor has seen it.
            Status::Up => self.least_loaded().is_some(),
            Status::Down(_) => true,
        };
        let known = status.wait_for(settled).await;
        match known.as_deref() {
            Ok(Status::Down(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(self.closed_error()),
        }
    }

    /// Returns the address of the last connection.
    pub fn address(&self) -> Option<Address> {
        lock(&self.address).clone()
    }

    /// Returns true if it is connected.
    pub fn is_up(&self) -> bool {
        matches!(&*self.status.borrow(), Status::Up)
    }

    /// Returns the error of a server that is out of reach.
    pub fn failure(&self) -> Option<Error> {
        match &*self.status.borrow() {
            Status::Down(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Replaces the connections, beginning with the server's address: the server has another role now. Happens at most
    /// once a second.
    pub fn reconnect(&self, why: &Error) {
        let now = coarse_millis();
        if now.saturating_sub(self.reconnected_ms.load(Relaxed)) < 1000 {
            return;
        }
        self.reconnected_ms.store(now, Relaxed);
        self.open_connections().for_each(|connection| connection.kill(why.clone()));
    }

    /// Closes the server. Calls in flight have until the deadline.
    pub async fn close(&self, context: CallContext, deadline: Instant) {
        while self.awaited() > 0 && Instant::now() < deadline {
            context.pause(Duration::from_millis(1)).await;
        }
        self.stop();
    }

    /// Closes a server that its cache has no longer, as `close` does. Calls that have chosen it can be made again.
    pub async fn retire(&self, context: CallContext, deadline: Instant) {
        self.note_retirement();
        self.close(context, deadline).await;
    }

    /// Closes such a server at once.
    pub fn retire_at_once(&self) {
        self.note_retirement();
        self.stop();
    }

    /// A second retirement changes nothing, and neither does one after a close.
    fn note_retirement(&self) {
        if !self.closed.load(Relaxed) {
            self.retired.store(true, Relaxed);
        }
    }

    /// Returns the number of requests with a caller that waits. Cancelled requests keep their permits until their replies
    /// come.
    fn awaited(&self) -> u64 {
        let cancelled: u64 = self.open_connections().map(|connection| u64::from(connection.cancelled())).sum();
        self.in_flight.requests().saturating_sub(cancelled)
    }

    /// Closes the server at once; requests in flight fail.
    pub fn stop(&self) {
        self.closed.store(true, Relaxed);
        self.changed.notify_one();
        self.closing.notify_one();
        self.open_connections().for_each(|connection| connection.kill(self.closed_error()));
        self.connections.iter().for_each(|slot| slot.store(None));
        self.status.send_replace(Status::Down(self.closed_error()));
    }

    fn closed_error(&self) -> Error {
        if self.retired.load(Relaxed) {
            let text = format!("{}: the cluster has this server no longer: try again", self.name());
            return Error::new(ErrorKind::Connect, text).passing();
        }
        Error::new(ErrorKind::Closed, "the cache was closed")
    }

    pub(super) fn open_connections(&self) -> impl Iterator<Item = Arc<Connection>> {
        self.connections.iter().filter_map(ArcSwapOption::load_full)
    }

    fn least_loaded(&self) -> Option<Arc<Connection>> {
        let mut best: Option<(u32, arc_swap::Guard<Option<Arc<Connection>>>)> = None;
        for slot in &self.connections {
            let connection = slot.load();
            let Some(load) = connection.as_ref().filter(|it| !it.is_broken()).map(|it| it.load()) else { continue };
            if load == 0 {
                return connection.clone();
            }
            if best.as_ref().is_none_or(|(least, _)| load < *least) {
                best = Some((load, connection));
            }
        }
        best.and_then(|(_, connection)| connection.clone())
    }
}

#[cfg(test)]
mod tests;
