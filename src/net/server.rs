//! One server: its connections, kept up by one task, and how much may be under way to it.

use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::connection::Connection;
use super::dial::{dial, is_tls_port};
use super::failure;
use super::framing::{Framing, MAX_REPLY, ReplyLimit};
use super::identity::Identity;
use super::request::InFlight;
use super::request::PendingReply;
use super::tls::Tls;
use crate::caller;
use crate::clock::coarse_millis;
use crate::config::{Address, ConnectionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::shown::shown;

/// Between attempts to connect: from this,
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// doubled up to this, so that a server that is back is found within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often a server that may move is located again.
const WHEREABOUTS: Duration = Duration::from_secs(1);
/// How often the connections are looked after.
const ROUND: Duration = Duration::from_millis(250);
/// The most letters of a name in messages.
const LONGEST_NAME: usize = 300;
/// Silence that ends a connection though requests wait: the call's own limit, within these.
const SILENCE: (Duration, Duration) = (Duration::from_millis(1000), Duration::from_millis(2500));

/// What a protocol has to say of connecting.
pub trait Protocol: Send + Sync + 'static {
    /// Cuts its replies.
    fn framing(&self) -> Box<dyn Framing>;
    /// Returns the limit of the length of replies.
    fn reply_limit(&self) -> ReplyLimit {
        ReplyLimit { one: MAX_REPLY, has_many: |_, _| true }
    }
    /// Where the server is now; asked again each time.
    fn resolve(&self) -> BoxFuture<'_, Result<Address>>;
    /// Another place to try, where the last one that was told does not have the server; `None`: there is no other.
    fn resolve_next(&self) -> BoxFuture<'_, Result<Option<Address>>> {
        Box::pin(async { Ok(None) })
    }
    /// Returns the number of places that there may be to try: each gets its share of the time to connect.
    fn places(&self) -> u32 {
        1
    }
    /// Makes a new connection fit for use: credentials, and whether it is the server that is wanted.
    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>>;
    /// Makes a server fit for reads before its connection is used by others; it may take longer than connecting does.
    fn adopt<'a>(&'a self, _connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// Whether the server may move while its connections still work: then it is located again from time to time.
    fn may_move(&self) -> bool {
        false
    }
    /// A request that any server answers with one reply.
    fn ping(&self) -> &'static [u8];
    /// Over TLS, the most bytes of several requests that share a write; `None` where requests may be cut anywhere.
    fn record_limit(&self) -> Option<usize> {
        None
    }
}

/// A connection nobody else uses yet: what it is asked is no call of anybody, and no close waits for it.
pub struct Handshake<'a> {
    connection: &'a Arc<Connection>,
    in_flight: Arc<InFlight>,
}

impl<'a> Handshake<'a> {
    fn new(connection: &'a Arc<Connection>) -> Self {
        Self { connection, in_flight: Arc::new(InFlight::new(u64::MAX, u64::MAX)) }
    }

    /// The server's name, as messages say it.
    pub fn server(&self) -> &str {
        self.connection.server()
    }

    /// Sends a request; the bytes of its one reply.
    pub async fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        self.ask_all(request, 1).await
    }

    /// Sends several requests at once; the bytes of their replies.
    pub async fn ask_all(&self, requests: &[u8], replies: u32) -> Result<Vec<u8>> {
        let permit = self.in_flight.acquire(self.server(), requests.len())?;
        Ok(self.connection.send(requests, replies, permit)?.await?.bytes)
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

/// What can be said of a server's connections.
#[derive(Clone)]
enum Status {
    /// Nobody knows yet: callers wait.
    Connecting,
    Up,
    /// Callers get this at once.
    Down(Error),
}

/// A server and its connections.
pub struct Server {
    name: Arc<str>,
    config: ConnectionConfig,
    tls: Option<Tls>,
    protocol: Box<dyn Protocol>,
    connections: Box<[ArcSwapOption<Connection>]>,
    in_flight: Arc<InFlight>,
    status: watch::Sender<Status>,
    /// A connection broke, or the server is to be closed.
    changed: Arc<Notify>,
    closed: AtomicBool,
    closing: Notify,
    connects: AtomicU64,
    oversized: AtomicU64,
    /// Where it was found last.
    address: Mutex<Option<Address>>,
    /// When it was left last.
    left_ms: AtomicU64,
}

impl Server {
    /// A server; its task begins to connect at once.
    pub fn start(
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
            closing: Notify::new(),
            connects: AtomicU64::new(0),
            left_ms: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
            address: Mutex::default(),
        });
        handle.spawn(supervise(Arc::clone(&server)));
        server
    }

    /// The name messages use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests are under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.requests()
    }

    /// How often it was connected to again.
    pub fn reconnects(&self) -> u64 {
        self.connects.load(Relaxed).saturating_sub(self.connections.len() as u64)
    }

    /// Values that were too large to be ours, and were not kept.
    pub fn oversized(&self) -> u64 {
        let now: u64 = self.open_connections().map(|connection| connection.take_oversized()).sum();
        self.oversized.fetch_add(now, Relaxed) + now
    }

    /// Sends a request that so many replies will answer, on the connection with the least to do.
    pub fn send(&self, bytes: &[u8], replies: u32) -> Option<Result<PendingReply>> {
        let connection = self.least_loaded()?;
        Some(self.in_flight.acquire(&self.name, bytes.len()).and_then(|permit| connection.send(bytes, replies, permit)))
    }

    /// The same, for a request that may not be sent twice: a connection at rest that the server has closed is left
    /// first. `None` also while another thread finds out whether it has.
    pub fn send_once(&self, bytes: &[u8], replies: u32) -> Option<Result<PendingReply>> {
        loop {
            let connection = self.least_loaded()?;
            if connection.is_fit() {
                let permit = self.in_flight.acquire(&self.name, bytes.len());
                return Some(permit.and_then(|permit| connection.send(bytes, replies, permit)));
            }
            if !connection.is_broken() {
                return None;
            }
        }
    }

    /// The same, on a connection to a process that gave an answer before, while there is one.
    pub fn send_to(&self, process: u64, bytes: &[u8], replies: u32) -> Option<Result<PendingReply>> {
        let is_the_one = |it: &Arc<Connection>| !it.is_broken() && it.identity().process == process;
        let Some(connection) = self.open_connections().find(is_the_one) else { return self.send(bytes, replies) };
        Some(self.in_flight.acquire(&self.name, bytes.len()).and_then(|permit| connection.send(bytes, replies, permit)))
    }

    /// Ready when the server is connected, or known to be out of reach.
    pub async fn connected(&self) -> Result<()> {
        let mut status = self.status.subscribe();
        let settled = |status: &Status| match status {
            Status::Connecting => false,
            // All may be broken, and the task has not seen it yet.
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

    /// Why it is out of reach, if it is.
    pub fn failure(&self) -> Option<Error> {
        match &*self.status.borrow() {
            Status::Down(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// The connections are made anew, from asking where the server is: it is
    /// not what it was. At most once a second, whatever it goes on to say.
    pub fn reconnect(&self, why: &Error) {
        let now = coarse_millis();
        if now.saturating_sub(self.left_ms.load(Relaxed)) < 1000 {
            return;
        }
        self.left_ms.store(now, Relaxed);
        self.open_connections().for_each(|connection| connection.kill(why.clone()));
    }

    /// Ends it: calls that wait for an answer have until the deadline.
    pub async fn close(&self, deadline: Instant) {
        while self.awaited() > 0 && Instant::now() < deadline {
            caller::pause(Duration::from_millis(1)).await;
        }
        self.stop();
    }

    /// Returns the number of requests with a caller that waits. Requests that were given up keep their room until their
    /// replies come.
    fn awaited(&self) -> u64 {
        let cancelled: u64 = self.open_connections().map(|connection| u64::from(connection.cancelled())).sum();
        self.in_flight.requests().saturating_sub(cancelled)
    }

    /// Ends it now; whatever is under way fails.
    pub fn stop(&self) {
        self.closed.store(true, Relaxed);
        self.changed.notify_one();
        self.closing.notify_one();
        self.open_connections().for_each(|connection| connection.kill(self.closed_error()));
        self.connections.iter().for_each(|slot| slot.store(None));
        self.status.send_replace(Status::Down(self.closed_error()));
    }

    fn closed_error(&self) -> Error {
        Error::new(ErrorKind::Closed, "the cache was closed")
    }

    fn open_connections(&self) -> impl Iterator<Item = Arc<Connection>> {
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

    /// Connects once, within the time there is for it.
    async fn connect(&self) -> Result<Arc<Connection>> {
        self.connect_for(Arc::clone(&self.changed)).await
    }

    async fn connect_for(&self, broken: Arc<Notify>) -> Result<Arc<Connection>> {
        // Boxed: it is large, and whoever opens a cache may have a small stack.
        let connected =
            timeout(self.config.connect_timeout, Box::pin(self.guarded(self.connect_somewhere(broken)))).await;
        connected.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// Tries the places where the server may be, one after another.
    async fn connect_somewhere(&self, broken: Arc<Notify>) -> Result<Arc<Connection>> {
        let mut address = self.protocol.resolve().await?;
        loop {
            let error = match self.connect_to(&address, Arc::clone(&broken)).await {
                Ok(connection) => {
                    *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
                    return Ok(connection);
                }
                Err(error) => error,
            };
            match self.protocol.resolve_next().await {
                Ok(Some(next)) => {
                    tracing::debug!(server = &*self.name, "{error}; {next} is tried");
                    address = next;
                }
                _ => return Err(error),
            }
        }
    }

    async fn connect_to(&self, address: &Address, broken: Arc<Notify>) -> Result<Arc<Connection>> {
        let connecting = establish(&self.name, address, &*self.protocol, &self.config, self.tls.as_ref(), broken);
        let share = self.config.connect_timeout / self.protocol.places().max(1);
        timeout(share, Box::pin(connecting)).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    #[cold]
    fn too_late(&self) -> Error {
        failure::connecting(&self.name, &std::io::ErrorKind::TimedOut.into())
    }

    /// Turns a panic over a server's reply into an error, so that the task that keeps the connections continues.
    async fn guarded<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let asked = AssertUnwindSafe(asking).catch_unwind().await;
        asked.unwrap_or_else(|payload| Err(failure::panicked(&self.name, payload)))
    }

    /// Fills the slots that are empty; the first failure ends that.
    async fn fill(&self) -> Result<()> {
        for slot in &self.connections {
            if slot.load().as_ref().is_some_and(|connection| !connection.is_broken()) {
                continue;
            }
            slot.store(None);
            let connection = self.connect().await?;
            self.guarded(self.adopt(&connection)).await?;
            let again = self.connects.fetch_add(1, Relaxed) > 0;
            slot.store(Some(connection));
            if !matches!(self.status.send_replace(Status::Up), Status::Up) {
                tracing::info!(server = &*self.name, "{}", if again { "connected again" } else { "connected" });
            }
        }
        Ok(())
    }

    /// Makes the server fit for reads. What is connected to another process is left first: a write that it still takes
    /// could be one that this process has to get too.
    async fn adopt(&self, connection: &Arc<Connection>) -> Result<()> {
        let identity = connection.identity();
        let is_left = |other: &Arc<Connection>| identity.told && other.identity() != identity;
        let error = || Error::new(ErrorKind::Connect, format!("{}: another server is in its place now", self.name));
        self.open_connections().filter(is_left).for_each(|other| other.kill(error()));
        let unaccepted = Unaccepted(Some(Arc::clone(connection)));
        self.protocol.adopt(&Handshake::new(connection)).await?;
        unaccepted.accept().map(drop)
    }

    fn drop_broken(&self) {
        for slot in &self.connections {
            let Some(connection) = slot.load_full().filter(|connection| connection.is_broken()) else { continue };
            slot.store(None);
            if let Some(error) = connection.failure().filter(|_| !self.closed.load(Relaxed)) {
                tracing::warn!(server = &*self.name, "a connection was lost: {error}");
            }
        }
    }

    fn note_failure(&self, error: &Error) {
        if self.open_connections().next().is_none() {
            let known = matches!(&*self.status.borrow(), Status::Down(known) if known.kind() == error.kind());
            if !known {
                tracing::warn!(server = &*self.name, "{error}");
            }
            self.status.send_replace(Status::Down(error.clone()));
        }
    }

    fn note_loss(&self) {
        self.drop_broken();
        let none_left = self.open_connections().next().is_none();
        // Callers wait for the first attempt; while it fails again and again they are told at once.
        if none_left && matches!(&*self.status.borrow(), Status::Up) {
            self.status.send_replace(Status::Connecting);
        }
    }

    /// Leaves it if it is to be found elsewhere now.
    async fn follow(&self) {
        if let Ok(Ok(now)) = timeout(self.config.connect_timeout, self.guarded(self.protocol.resolve())).await {
            let known = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // Whoever names another place may be wrong.
            if known.is_some_and(|known| known != now) && self.is_at(&now).await {
                let text =
                    format!("{}: it has moved to {}", self.name, shown(now.to_string().as_bytes(), LONGEST_NAME));
                self.open_connections()
                    .for_each(|connection| connection.kill(Error::new(ErrorKind::Connect, text.clone())));
            }
        }
    }

    async fn is_at(&self, address: &Address) -> bool {
        let connection = self.connect_to(address, Arc::default()).await;
        connection.map(|connection| drop(Unaccepted(Some(connection)))).is_ok()
    }

    /// Looks after connections that nobody leads.
    fn look_after(&self) {
        let silence = self.config.timeout.clamp(SILENCE.0, SILENCE.1);
        for connection in self.open_connections() {
            connection.check(silence);
            let interval = self.config.health_check_interval;
            if !interval.is_zero() && connection.load() == 0 && connection.idle() > interval {
                self.ping(&connection);
            }
        }
    }

    /// No answer to this is waited for: a connection that gives none falls silent.
    fn ping(&self, connection: &Arc<Connection>) {
        if let Ok(permit) = self.in_flight.acquire(&self.name, 0) {
            drop(connection.send(self.protocol.ping(), 1, permit));
        }
    }
}

impl Server {
    /// A connection that only this caller uses, for a request that holds up its connection.
    pub async fn connect_dedicated(&self) -> Result<DedicatedConnection> {
        let connection = self.connect_for(Arc::default()).await?;
        let apart = DedicatedConnection(Unaccepted(Some(Arc::clone(&connection))));
        self.protocol.adopt(&Handshake::new(&connection)).await?;
        Ok(apart)
    }
}

/// A connection of one caller; it is closed with this.
pub struct DedicatedConnection(Unaccepted);

impl DedicatedConnection {
    /// Sends several requests at once; the bytes of their replies.
    pub async fn ask_all(&self, requests: &[u8], replies: u32) -> Result<Vec<u8>> {
        let connection = self.0.0.as_ref().ok_or_else(given_up)?;
        Handshake::new(connection).ask_all(requests, replies).await
    }
}

/// Connects and greets a server.
async fn establish(
    name: &str,
    address: &Address,
    protocol: &dyn Protocol,
    config: &ConnectionConfig,
    tls: Option<&Tls>,
    broken: Arc<Notify>,
) -> Result<Arc<Connection>> {
    let at = shown(address.to_string().as_bytes(), LONGEST_NAME);
    let server = if name.contains(&at) { name.to_owned() } else { format!("{name} ({at})") };
    let socket =
        dial(address, config, tls, protocol.ping()).await.map_err(|error| failure::connecting(&server, &error))?;
    let connection = Arc::new(Connection::new(server.into(), socket, protocol, broken));
    tokio::spawn(Arc::clone(&connection).drive());
    let unaccepted = Unaccepted(Some(connection));
    if let Some(connection) = &unaccepted.0 {
        let greeted = protocol.handshake(&Handshake::new(connection)).await;
        if tls.is_none() && connection.has_hung_up() && is_tls_port(address).await {
            return Err(failure::speaks_tls(connection.server()));
        }
        greeted?;
    }
    unaccepted.accept()
}

/// Asks a server one thing over a connection of its own; the bytes of the one reply.
pub async fn ask_once(
    name: &str,
    protocol: &dyn Protocol,
    config: &ConnectionConfig,
    tls: Option<&Tls>,
    request: &[u8],
) -> Result<Vec<u8>> {
    let address = protocol.resolve().await?;
    let connection = Box::pin(establish(name, &address, protocol, config, tls, Arc::default())).await?;
    let unaccepted = Unaccepted(Some(Arc::clone(&connection)));
    let answer = Handshake::new(&connection).ask(request).await;
    drop(unaccepted);
    answer
}

/// A connection that is closed unless it is accepted, also when the one who makes it is given up.
struct Unaccepted(Option<Arc<Connection>>);

impl Unaccepted {
    fn accept(mut self) -> Result<Arc<Connection>> {
        self.0.take().ok_or_else(given_up)
    }
}

impl Drop for Unaccepted {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.kill(given_up());
        }
    }
}

#[cold]
fn given_up() -> Error {
    Error::new(ErrorKind::Connect, "the connection was given up")
}

/// Keeps a server connected until it is closed: one attempt at a time, so that no outage ends in a storm.
async fn supervise(server: Arc<Server>) {
    let (mut pause, mut located) = (FIRST_PAUSE, Instant::now());
    while !server.closed.load(Relaxed) {
        match server.fill().await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                let _ = timeout(ROUND, server.changed.notified()).await;
                server.look_after();
                if server.protocol.may_move() && located.elapsed() > WHEREABOUTS {
                    located = Instant::now();
                    Box::pin(server.follow()).await;
                }
            }
            Err(error) => {
                server.note_failure(&error);
                let _ = timeout(jittered(pause), server.closing.notified()).await;
                // Those that are left may have ended too, and nobody who uses them would find out.
                server.look_after();
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        server.note_loss();
    }
    server.stop();
}

/// Half to all of it: many clients of one server come back one after another.
fn jittered(pause: Duration) -> Duration {
    #[allow(clippy::cast_precision_loss)]
    let share = RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests;
