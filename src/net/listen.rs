//! A connection on which the server sends without being asked.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Leader};
use super::driver::clear;
use super::failure;
use super::handshake::DedicatedConnection;
use super::outgoing;
use super::socket::Wait;
use crate::error::{Error, Result};

/// The silence after which the server is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(1);
/// The time that it then has.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The most bytes that a frame has beyond its longest string.
const FRAME_ROOM: usize = 256 * 1024;
/// The number of times that the end of the handshake is looked for, a millisecond apart.
const LOOKS: u32 = 1000;

impl DedicatedConnection {
    /// Sends requests, and hands over every frame that comes from then on, until the connection ends or `on_frame` fails;
    /// returns why. `ping` is a request that the server answers. No other request can be sent on the connection.
    pub async fn listen(&self, requests: &[u8], ping: &[u8], on_frame: impl FnMut(&[u8]) -> Result<()>) -> Error {
        let connection = match self.connection() {
            Ok(connection) => Arc::clone(connection),
            Err(error) => return error,
        };
        let Err(error) = connection.listen(requests, ping, on_frame).await else {
            return failure::leader_lost(connection.server());
        };
        connection.kill(error.clone());
        error
    }
}

impl Connection {
    async fn listen(&self, requests: &[u8], ping: &[u8], mut on_frame: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        // The connection's own task gives the role back once it has read the last reply of the handshake.
        let mut looks = 0..LOOKS;
        let lead = loop {
            match self.try_lead(Leader::Thread) {
                Some(lead) => break lead,
                None if self.is_broken() || looks.next().is_none() => return Err(failure::leader_lost(&self.server)),
                None => sleep(Duration::from_millis(1)).await,
            }
        };
        let listened = self.listen_as_leader(requests, ping, &mut on_frame).await;
        match listened {
            Ok(()) => lead.release(self.lock_reader()),
            Err(ref error) => lead.fail(&mut self.lock_reader(), error.clone()),
        }
        listened
    }

    async fn listen_as_leader(
        &self,
        requests: &[u8],
        ping: &[u8],
        on_frame: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let lost = |error: &io::Error| failure::lost(&self.server, error);
        // The connection's own task may still have the descriptor itself registered.
        let fd = self.socket.as_fd().try_clone_to_owned().map_err(|error| lost(&error))?;
        #[allow(deprecated)] // The descriptor is its own, and stays open while it is registered.
        let readiness = AsyncFd::new(fd).map_err(|error| lost(&error))?;
        self.send_all(requests, &readiness).await?;
        let mut is_asked = false;
        loop {
            // The answer to a ping may be read here, before the event loop tells of it.
            let mut more = true;
            while more {
                match self.receive_frames(on_frame)? {
                    None => more = false,
                    Some(is_more) => (more, is_asked) = (is_more, false),
                }
                if more {
                    yield_now().await;
                }
            }
            match timeout(if is_asked { PATIENCE } else { QUIET }, readiness.readable()).await {
                Ok(guard) => clear(guard),
                Err(_) if is_asked => return Err(failure::silent(&self.server, PATIENCE)),
                Err(_) => {
                    self.send_all(ping, &readiness).await?;
                    is_asked = true;
                }
            }
        }
    }

    async fn send_all(&self, bytes: &[u8], readiness: &AsyncFd<impl AsRawFd>) -> Result<()> {
        let mut rest = bytes.to_vec();
        while !outgoing::write(&self.socket, &mut rest).map_err(|error| failure::lost(&self.server, &error))? {
            match timeout(PATIENCE, readiness.writable()).await {
                Ok(guard) => clear(guard),
                Err(_) => return Err(failure::silent(&self.server, PATIENCE)),
            }
        }
        Ok(())
    }

    /// Receives once, and hands over the whole frames. Returns whether there may be more at once; `None` if nothing came.
    fn receive_frames(&self, on_frame: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<Option<bool>> {
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
            on_frame(reader.frame(range))?;
        }
        if reader.rest().len() > self.longest_reply().saturating_add(FRAME_ROOM) {
            return Err(malformed("a message that is longer than its parts may be".into()));
        }
        Ok(Some(received == room || self.socket.is_tls()))
    }
}
