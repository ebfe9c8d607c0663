//! A connection on which the server sends without being asked.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout, timeout_at};

use super::connection::{Connection, Leader};
use super::driver::clear;
use super::failure;
use super::handshake::DedicatedConnection;
use super::outgoing;
use super::socket::Wait;
use crate::error::{Error, Result};

/// The most bytes that a frame has beyond its longest string.
const FRAME_ROOM: usize = 256 * 1024;
/// The number of times that the end of the handshake is looked for, a millisecond apart.
const LOOKS: u32 = 1000;

/// The request that is sent again and again, to find out whether the server still sends.
pub struct Beat<'a> {
    /// A request that the server answers.
    pub request: &'a [u8],
    /// The time between two of them.
    pub every: Duration,
    /// The time in which anything has to come after one.
    pub patience: Duration,
}

/// Takes the frames of a connection.
pub trait Listener {
    /// Takes a frame. An error ends the connection.
    fn take(&mut self, frame: &[u8]) -> Result<()>;
    /// Returns a request to send before the next beat; its reply comes before that of the beat.
    fn request(&mut self) -> Option<Vec<u8>> {
        None
    }
    /// Notes that a beat is about to be sent.
    fn beat(&mut self) {}
}

impl DedicatedConnection {
    /// Sends requests, and hands over every frame that comes from then on, until the connection ends or the listener fails;
    /// returns why. No other request can be sent on the connection.
    pub async fn listen(&self, requests: &[u8], beat: Beat<'_>, listener: &mut impl Listener) -> Error {
        let connection = match self.connection() {
            Ok(connection) => Arc::clone(connection),
            Err(error) => return error,
        };
        let Err(error) = connection.listen(requests, beat, listener).await else {
            return failure::leader_lost(connection.server());
        };
        connection.kill(error.clone());
        error
    }
}

impl Connection {
    async fn listen(&self, requests: &[u8], beat: Beat<'_>, listener: &mut impl Listener) -> Result<()> {
        // The connection's own task gives the role back once it has read the last reply of the handshake.
        let mut looks = 0..LOOKS;
        let lead = loop {
            match self.try_lead(Leader::Thread) {
                Some(lead) => break lead,
                None if self.is_broken() || looks.next().is_none() => return Err(failure::leader_lost(&self.server)),
                None => sleep(Duration::from_millis(1)).await,
            }
        };
        let listened = self.listen_as_leader(requests, &beat, listener).await;
        match listened {
            Ok(()) => lead.release(self.lock_reader()),
            Err(ref error) => lead.fail(&mut self.lock_reader(), error.clone()),
        }
        listened
    }

    async fn listen_as_leader(&self, requests: &[u8], beat: &Beat<'_>, listener: &mut impl Listener) -> Result<()> {
        let lost = |error: &io::Error| failure::lost(&self.server, error);
        // The connection's own task may still have the descriptor itself registered.
        let fd = self.socket.as_fd().try_clone_to_owned().map_err(|error| lost(&error))?;
        #[allow(deprecated)] // The descriptor is its own, and stays open while it is registered.
        let readiness = AsyncFd::new(fd).map_err(|error| lost(&error))?;
        self.send_all(requests, beat.patience, &readiness).await?;
        let (mut next, mut asked): (Instant, Option<Instant>) = (Instant::now() + beat.every, None);
        loop {
            // The answer to a beat may be read here, before the event loop tells of it.
            let received = self.receive_frames(listener)?;
            if received.is_some() {
                asked = None;
            }
            let now = Instant::now();
            if asked.is_some_and(|asked| now >= asked + beat.patience) {
                return Err(failure::silent(&self.server, beat.patience));
            }
            if now >= next {
                if let Some(request) = listener.request() {
                    self.send_all(&request, beat.patience, &readiness).await?;
                }
                listener.beat();
                self.send_all(beat.request, beat.patience, &readiness).await?;
                (next, asked) = (now + beat.every, asked.or(Some(now)));
            }
            if received == Some(true) {
                yield_now().await;
                continue;
            }
            let until = asked.map_or(next, |asked| next.min(asked + beat.patience));
            if let Ok(guard) = timeout_at(until.into(), readiness.readable()).await {
                clear(guard);
            }
        }
    }

    async fn send_all(&self, bytes: &[u8], patience: Duration, readiness: &AsyncFd<impl AsRawFd>) -> Result<()> {
        let mut rest = bytes.to_vec();
        while !outgoing::write(&self.socket, &mut rest).map_err(|error| failure::lost(&self.server, &error))? {
            match timeout(patience, readiness.writable()).await {
                Ok(guard) => clear(guard),
                Err(_) => return Err(failure::silent(&self.server, patience)),
            }
        }
        Ok(())
    }

    /// Receives once, and hands over the whole frames. Returns whether there may be more at once; `None` if nothing came.
    fn receive_frames(&self, listener: &mut impl Listener) -> Result<Option<bool>> {
        let mut reader = self.lock_reader();
        let space = reader.space().map_err(|_| failure::no_memory_for_reply(&self.server))?;
        let room = space.len();
        let received = match self.socket.receive(space, Wait::No) {
            Ok(0) => return Err(failure::lost(&self.server, &io::ErrorKind::UnexpectedEof.into())),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(failure::lost(&self.server, &error)),
        };
        reader.received(received);
        let malformed = |what: String| failure::protocol_error(&self.server, &what);
        while let Some(range) = reader.next().map_err(malformed)? {
            listener.take(reader.frame(range))?;
        }
        if reader.rest().len() > self.longest_reply().saturating_add(FRAME_ROOM) {
            return Err(malformed("a message that is longer than its parts may be".into()));
        }
        Ok(Some(received == room || self.socket.is_tls()))
    }
}
