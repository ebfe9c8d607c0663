//! A connection that many callers share: requests are queued, sent together, and answered in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::failure;
use super::handshake::Protocol;
use super::outgoing::{self, Outgoing};
use super::reader::{Expected, Reader, ReplyLimit};
use super::request::{PendingReply, Permit, Request};
use super::socket::Socket;
use crate::credentials::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::clock::coarse_millis;
use crate::util::lock;

/// The identity of the process that answers, and of the history of writes that its data continues, as the handshake
/// learned them. Both are hashes, to be compared only for equality. A server that does not report them counts as another
/// one on each connection: that costs work, and hides no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// The process: it changes with each start of the server.
    pub process: u64,
    /// The history of its data: a replica that becomes the primary, or that took over another's data, has another.
    pub history: u64,
    /// True if the server reported both.
    pub reported: bool,
}

/// One connection to a server.
pub struct Connection {
    /// The name of the server, for messages.
    pub(super) server: Arc<str>,
    reply_limit: ReplyLimit,
    /// Set by the handshake, if the protocol reports an identity.
    identity: OnceLock<Identity>,
    /// The credentials that it logs in with.
    credentials: ArcSwapOption<Credentials>,
    pub(super) socket: Socket,
    pub(super) state: Mutex<State>,
    pub(super) reader: Mutex<Reader>,
    /// Wakes the connection's own task: a request waits and no thread leads.
    pub(super) task_wakeup: Notify,
    /// Woken when the connection is broken.
    pub(super) broken: Arc<Notify>,
    /// A write waits for the socket to take more; the leader continues it.
    pub(super) stalled: AtomicBool,
    /// The time of the last byte received, or at which the first request in flight was sent.
    pub(super) progress_ms: AtomicU64,
    /// The requests in flight, by which the least loaded connection is chosen.
    load: AtomicU32,
    /// Of those, the cancelled requests.
    pub(super) cancelled: AtomicU32,
    /// True once `state.broken` is set; read without its lock.
    dead: AtomicBool,
    /// The server has sent a reply.
    pub(super) answers: AtomicBool,
    /// The number of requests that a thread does not wait for without sleeping.
    pub(super) spins_to_skip: AtomicU32,
    /// Parts of replies that were too large to keep.
    oversized: AtomicU64,
}

/// The queued requests, and the leader.
pub(super) struct State {
    pub outgoing: Outgoing,
    pub expected: VecDeque<Expected>,
    pub leader: Leader,
    pub broken: Option<Error>,
}

/// The leader, which sends and reads for all callers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    None,
    /// A caller's thread.
    Thread,
    /// The connection's own task.
    Task,
    /// The task, without requests in flight: a thread may take over.
    Idle,
}

impl Connection {
    /// Makes a connection over a socket. `broken` is woken when it breaks.
    pub fn new(server: Arc<str>, socket: Socket, protocol: &dyn Protocol, broken: Arc<Notify>) -> Self {
        let limit = protocol.record_limit().filter(|_| socket.is_tls());
        let state =
            State { outgoing: Outgoing::new(limit), expected: VecDeque::new(), leader: Leader::None, broken: None };
        Self {
            server,
            reply_limit: protocol.reply_limit(),
            identity: OnceLock::new(),
            credentials: ArcSwapOption::empty(),
            socket,
            state: Mutex::new(state),
            reader: Mutex::new(Reader::new(protocol.framing())),
            task_wakeup: Notify::new(),
            broken,
            stalled: AtomicBool::new(false),
            progress_ms: AtomicU64::new(coarse_millis()),
            load: AtomicU32::new(0),
            cancelled: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            answers: AtomicBool::new(false),
            spins_to_skip: AtomicU32::new(0),
            oversized: AtomicU64::new(0),
        }
    }

    /// Returns the most bytes of a reply that is one value.
    pub(super) fn longest_reply(&self) -> usize {
        self.reply_limit.one
    }

    /// Returns the server's name, as messages use it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns the identity of the process that answers; the same for all connections if the protocol does not report
    /// it.
    pub fn identity(&self) -> Identity {
        self.identity.get().copied().unwrap_or_default()
    }

    /// Records the identity that the handshake learned; the first one counts.
    pub(super) fn identify(&self, identity: Identity) {
        let _ = self.identity.set(identity);
    }

    /// Returns the credentials that it logs in with.
    pub(super) fn credentials(&self) -> Option<Arc<Credentials>> {
        self.credentials.load_full()
    }

    /// Sets the credentials that it logs in with.
    pub(super) fn log_in_with(&self, credentials: Option<Arc<Credentials>>) {
        self.credentials.store(credentials);
    }

    /// Returns true if it has logged in with other credentials than these.
    pub(super) fn has_other_login(&self, credentials: &Arc<Credentials>) -> bool {
        self.credentials.load().as_ref().is_none_or(|own| !Arc::ptr_eq(own, credentials))
    }

    /// Sends a request with so many replies, or queues it behind others. Never blocks.
    pub fn send(
        self: &Arc<Self>,
        context: CallContext,
        bytes: &[u8],
        replies: u32,
        permit: Permit,
    ) -> Result<PendingReply> {
        let blocking = context.may_block();
        let sends = blocking || context.drives_until().is_some();
        let request = Arc::new(Request::new(blocking));
        let most = self.reply_limit.of(bytes, replies);
        let expected = Expected::new(Arc::clone(&request), replies, most, permit);
        let write = {
            let mut state = self.lock();
            if let Some(error) = &state.broken {
                return Err(error.clone());
            }
            state.outgoing.push(bytes).map_err(|_| failure::no_memory(&self.server, bytes.len()))?;
            if self.load.fetch_add(1, Relaxed) == 0 {
                self.progressed();
            }
            state.expected.push_back(expected);
            if sends { state.outgoing.begin() } else { None }
        };
        if sends {
            self.transmit(write);
        } else {
            // The connection's own task sends the requests that all tasks of this turn have queued, at once.
            self.task_wakeup.notify_one();
        }
        Ok(PendingReply::new(context, Arc::clone(self), request))
    }

    /// Sends queued requests, if the window allows it.
    pub(super) fn flush(&self) {
        let write = self.lock().outgoing.begin();
        self.transmit(write);
    }

    /// Sends a write, and the requests that were queued meanwhile.
    pub(super) fn transmit(&self, mut write: Option<Vec<u8>>) {
        while let Some(mut buffer) = write.take() {
            match outgoing::write(&self.socket, &mut buffer) {
                Ok(true) => {
                    let mut state = self.lock();
                    state.outgoing.sent(buffer);
                    write = state.outgoing.begin();
                }
                Ok(false) => {
                    self.lock().outgoing.stalled(buffer);
                    self.stalled.store(true, Relaxed);
                    self.task_wakeup.notify_one();
                }
                Err(error) => self.kill(failure::lost(&self.server, &error)),
            }
        }
    }

    /// Breaks the connection: requests in flight get the error, and the supervisor replaces it.
    pub fn kill(&self, error: Error) {
        let free = {
            let mut state = self.lock();
            state.broken.get_or_insert(error);
            self.dead.store(true, Relaxed);
            let free = matches!(state.leader, Leader::None | Leader::Idle);
            if free {
                state.leader = Leader::Thread;
            }
            free
        };
        // A leader wakes up, finds the end and fails all requests.
        self.socket.shut_down();
        if free {
            self.fail(&mut self.lock_reader());
        }
    }

    /// Fails all requests in flight with the error that broke the connection.
    pub(super) fn fail(&self, reader: &mut Reader) {
        let (error, queued) = {
            let mut state = self.lock();
            state.leader = Leader::None;
            let broken = state.broken.get_or_insert_with(|| Error::new(ErrorKind::Connect, "the connection broke"));
            self.dead.store(true, Relaxed);
            (broken.clone(), std::mem::take(&mut state.expected))
        };
        self.socket.shut_down();
        for expected in reader.expected.drain(..).chain(queued) {
            drop(expected.permit);
            let wanted = expected.request.complete(Err(error.clone()));
            self.cancelled.fetch_sub(u32::from(!wanted), Relaxed);
        }
        self.task_wakeup.notify_one();
        self.broken.notify_one();
    }

    /// Returns whether the connection is broken.
    pub fn is_broken(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Returns whether the server closed the connection without a reply.
    pub fn has_hung_up(&self) -> bool {
        self.is_broken() && !self.answers.load(Relaxed)
    }

    /// Returns the error of a broken connection.
    pub fn failure(&self) -> Option<Error> {
        self.lock().broken.clone()
    }

    /// Returns the number of requests in flight.
    pub fn load(&self) -> u32 {
        self.load.load(Relaxed)
    }

    /// Returns the number of requests in flight whose replies no caller waits for.
    pub fn cancelled(&self) -> u32 {
        self.cancelled.load(Relaxed)
    }

    pub(super) fn answered(&self, requests: u32) {
        self.load.fetch_sub(requests, Relaxed);
    }

    pub(super) fn note_oversized(&self, parts: u64) {
        self.oversized.fetch_add(parts, Relaxed);
    }

    /// Returns the number of parts of replies that were too large to keep since the last call.
    pub fn take_oversized(&self) -> u64 {
        if self.oversized.load(Relaxed) == 0 { 0 } else { self.oversized.swap(0, Relaxed) }
    }

    pub(super) fn progressed(&self) {
        self.progress_ms.store(coarse_millis(), Relaxed);
    }

    /// Returns the time since the last progress.
    pub fn idle(&self) -> Duration {
        Duration::from_millis(coarse_millis().saturating_sub(self.progress_ms.load(Relaxed)))
    }

    /// Breaks the connection if it is silent with requests in flight, or if the server closed it while idle. Replies that no
    /// thread has read yet are no silence: their caller waits for another server, or for a processor.
    pub fn check(&self, silence: Duration) {
        let is_silent = || self.load() > 0 && self.idle() > silence;
        if !is_silent() && self.load() > 0 {
            return;
        }
        // A TLS session may hold bytes that were received before.
        let may_read = self.socket.is_readable() || self.socket.is_tls();
        if may_read && !self.read_unattended() {
            return;
        }
        if is_silent() && !self.socket.is_readable() {
            self.kill(failure::silent(&self.server, silence));
        }
    }

    /// Returns whether the connection can be used. One without requests in flight is checked for a close by the server.
    pub fn is_fit(&self) -> bool {
        if self.load() == 0 && self.socket.is_readable() {
            self.read_unattended();
            return !self.is_broken() && !self.socket.is_readable();
        }
        !self.is_broken()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn lock_reader(&self) -> MutexGuard<'_, Reader> {
        lock(&self.reader)
    }
}
