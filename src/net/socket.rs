//! Bytes to and from a server, over TCP, a unix socket or TLS, on the thread of the leader.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::util::lock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustls::ClientConnection;

/// Sends without a signal. A system without this flag has an option of the socket, which std sets.
#[cfg(target_os = "linux")]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(not(target_os = "linux"))]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// The longest time that a read blocks: a leader checks its deadline this often.
pub const TICK: Duration = Duration::from_millis(10);
const TICK_SPEC: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// The choice whether a read may block for a tick.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Tick,
    /// A read waits until this time, which is less than a tick away; the kernel adds the slack of the thread's timers, 50 µs.
    Until(Instant),
    No,
}

/// Returns the time until `end`.
fn left_until(end: Instant) -> Timespec {
    Timespec::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(TICK_SPEC)
}

/// A connected socket. One thread reads at a time, one writes; never a SIGPIPE.
pub struct Socket {
    fd: OwnedFd,
    tls: Option<Mutex<TlsState>>,
}

struct TlsState {
    session: ClientConnection,
    /// Received ciphertext that is not decrypted yet: the session takes a record or two at a time.
    received: Vec<u8>,
    /// No more ciphertext will come.
    at_end: bool,
    /// Ciphertext that waits to be sent.
    unsent: Vec<u8>,
}

impl TlsState {
    /// Reads decrypted bytes, and decrypts received ciphertext if there are none.
    fn decrypted(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.received.is_empty() && !self.at_end {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = self.session.read_tls(&mut self.received.as_slice())?;
            self.received.drain(..taken);
            self.session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

const TLS_READ: usize = 32 * 1024;

impl Socket {
    /// Makes a socket from a connected descriptor, and its TLS session if it has one.
    pub fn new(fd: OwnedFd, session: Option<ClientConnection>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, false)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(TICK))?;
        let state = |session| TlsState { session, received: Vec::new(), at_end: false, unsent: Vec::new() };
        let tls = session.map(|session| Mutex::new(state(session)));
        Ok(Self { fd, tls })
    }

    /// Reads into `buffer`; 0 at the end. `WouldBlock`: nothing came, within a tick if the read may wait.
    pub fn receive(&self, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
        match &self.tls {
            None => self.receive_plain(buffer, wait),
            Some(tls) => self.receive_tls(tls, buffer, wait),
        }
    }

    /// Sends as much of `bytes` as can be sent now; returns how much that is. Never blocks.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.send_plain(bytes),
            Some(tls) => self.send_tls(&mut lock(tls), bytes),
        }
    }

    /// Sends buffered ciphertext; returns whether none is left.
    pub fn flush(&self) -> io::Result<bool> {
        self.tls.as_ref().map_or(Ok(true), |tls| self.send_ciphertext(&mut lock(tls)))
    }

    /// Waits a tick until there is anything to read, or room to send.
    pub fn wait_for_either(&self) -> io::Result<()> {
        self.wait_for(PollFlags::IN | PollFlags::OUT, TICK_SPEC).map(drop)
    }

    /// Returns whether the socket has a TLS session, which may hold bytes although the socket is not readable.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns whether there is anything to read: bytes, or the end.
    pub fn is_readable(&self) -> bool {
        self.wait_for(PollFlags::IN, Timespec { tv_sec: 0, tv_nsec: 0 }).unwrap_or(true)
    }

    fn wait_for(&self, events: PollFlags, limit: Timespec) -> io::Result<bool> {
        match poll(&mut [PollFd::new(&self.fd, events)], Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the connection; a thread that reads it wakes up.
    pub fn shut_down(&self) {
        let _ = shutdown(&self.fd, Shutdown::Both);
    }

    fn receive_plain(&self, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
        if let Wait::Until(end) = wait {
            self.wait_for(PollFlags::IN, left_until(end))?;
        }
        let flags = if wait == Wait::Tick { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        match recv(&self.fd, buffer, flags) {
            Ok((received, _)) => Ok(received),
            // A signal for the caller's thread: it checks its deadline and reads again.
            Err(rustix::io::Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn send_plain(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.fd, bytes, SEND) {
            Ok(sent) => Ok(sent),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads without holding the lock while it waits, so that others can send.
    fn receive_tls(&self, tls: &Mutex<TlsState>, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
        match lock(tls).decrypted(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        match wait {
            Wait::Tick => drop(self.wait_for(PollFlags::IN, TICK_SPEC)?),
            Wait::Until(end) => drop(self.wait_for(PollFlags::IN, left_until(end))?),
            Wait::No => {}
        }
        let mut tls = lock(tls);
        tls.received.clear();
        tls.received.resize(TLS_READ, 0);
        let received = self.receive_plain(&mut tls.received, Wait::No);
        tls.received.truncate(*received.as_ref().unwrap_or(&0));
        if received? == 0 {
            tls.at_end = true;
        }
        let read = tls.decrypted(buffer);
        self.send_ciphertext(&mut tls)?;
        read
    }

    fn send_tls(&self, tls: &mut TlsState, bytes: &[u8]) -> io::Result<usize> {
        if !self.send_ciphertext(tls)? {
            return Ok(0);
        }
        let accepted = tls.session.writer().write(bytes)?;
        self.send_ciphertext(tls)?;
        Ok(accepted)
    }

    /// Sends the ciphertext of the session; returns whether none is left.
    fn send_ciphertext(&self, tls: &mut TlsState) -> io::Result<bool> {
        while tls.session.wants_write() {
            tls.session.write_tls(&mut tls.unsent)?;
        }
        while !tls.unsent.is_empty() {
            match self.send_plain(&tls.unsent)? {
                0 => return Ok(false),
                sent => drop(tls.unsent.drain(..sent)),
            }
        }
        Ok(true)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
