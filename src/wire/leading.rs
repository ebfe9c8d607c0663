//! Leading a connection: sending what is queued and reading the replies of all, by a caller's thread or by the
//! connection's own task.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::answer::Request;
use super::connection::{Connection, Leader};
use super::failure;
use super::reader::Reader;
use super::socket::Wait;
use crate::caller;
use crate::error::{Error, Result};

/// How long the task stays registered with nothing to wait for: under steady load it is never registered anew.
const REST: Duration = Duration::from_millis(50);

impl Connection {
    /// Leads until a request is answered, or its caller's deadline; false if somebody else leads.
    pub(super) fn lead(&self, mine: &Request) -> bool {
        if !self.take_lead(Leader::Thread) {
            return false;
        }
        let mut reader = self.lock_reader();
        match self.read_until(&mut reader, mine) {
            Ok(()) => {
                let next = self.resign(&reader);
                drop(reader);
                self.summon(next);
            }
            Err(error) => self.fail_with(&mut reader, error),
        }
        true
    }

    fn read_until(&self, reader: &mut Reader, mine: &Request) -> Result<()> {
        let deadline = caller::deadline();
        while mine.is_waiting() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            self.step(reader, Wait::Tick)?;
        }
        Ok(())
    }

    fn take_lead(&self, leader: Leader) -> bool {
        let mut state = self.lock();
        let free = matches!(state.leader, Leader::Nobody | Leader::Resting) && state.broken.is_none();
        if free {
            state.leader = leader;
        }
        free
    }

    fn fail_with(&self, reader: &mut Reader, error: Error) {
        self.lock().broken.get_or_insert(error);
        self.fail(reader);
    }

    /// A request was given up: if nobody leads any more, somebody else has to.
    pub(super) fn abandoned(&self) {
        let mut state = self.lock();
        if state.leader != Leader::Nobody || state.broken.is_some() {
            return;
        }
        state.leader = Leader::Thread;
        drop(state);
        let reader = self.lock_reader();
        let next = self.resign(&reader);
        drop(reader);
        self.summon(next);
    }

    /// Leads no more; who should.
    fn resign(&self, reader: &Reader) -> Next {
        let mut state = self.lock();
        state.leader = Leader::Nobody;
        // The one whose reply comes last leads longest.
        let mut waiting =
            state.expected.iter().rev().chain(reader.expected.iter().rev()).filter(|it| it.request.is_awaited());
        match waiting.find(|expected| expected.request.blocking) {
            Some(expected) => Next::Thread(Arc::clone(&expected.request)),
            None if state.expected.iter().chain(&reader.expected).any(|it| it.request.is_awaited()) => Next::Task,
            None => Next::Nobody,
        }
    }

    fn summon(&self, next: Next) {
        match next {
            Next::Thread(request) => request.wake(),
            Next::Task => self.wanted.notify_one(),
            Next::Nobody => {}
        }
    }

    /// Receives once and hands out what came; whether there may be more at once.
    fn step(&self, reader: &mut Reader, mut wait: Wait) -> Result<bool> {
        if self.stalled.load(Relaxed) {
            self.resume(wait)?;
            wait = Wait::No;
        }
        let space = reader.space();
        let room = space.len();
        match self.socket.receive(space, wait) {
            Ok(0) => Err(self.lost(&io::ErrorKind::UnexpectedEof.into())),
            Ok(received) => {
                reader.received(received);
                self.progressed();
                self.distribute(reader)?;
                Ok(received == room || self.socket.is_tls())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, error: &io::Error) -> Error {
        failure::lost(&self.server, error)
    }

    /// Goes on with a write that the socket did not take whole.
    fn resume(&self, wait: Wait) -> Result<()> {
        if wait == Wait::Tick {
            self.socket.wait_for_either().map_err(|error| self.lost(&error))?;
        }
        self.stalled.store(false, Relaxed);
        let rest = self.lock().outgoing.resume();
        self.transmit(Some(rest));
        Ok(())
    }

    /// Hands the whole replies to the requests they answer, and sends what waited for that.
    fn distribute(&self, reader: &mut Reader) -> Result<()> {
        let mut answered = 0;
        while let Some(range) = reader.next().map_err(|what| failure::protocol(&self.server, &what))? {
            if reader.expected.is_empty() {
                std::mem::swap(&mut reader.expected, &mut self.lock().expected);
            }
            answered += u32::from(reader.deliver(range).ok_or_else(|| failure::closed_or_uninvited(&self.server))?);
        }
        if reader.oversized > 0 {
            self.note_oversized(std::mem::take(&mut reader.oversized));
        }
        self.answered(answered);
        let write = {
            let mut state = self.lock();
            state.outgoing.answered(u64::from(answered));
            state.outgoing.begin()
        };
        self.transmit(write);
        Ok(())
    }

    /// The connection's own task: leads while tasks wait and no thread leads.
    pub(super) async fn run(self: Arc<Self>) {
        while !self.is_broken() {
            self.wanted.notified().await;
            self.flush();
            if self.take_lead(Leader::Task) {
                self.lead_as_task().await;
            }
        }
    }

    async fn lead_as_task(&self) {
        #[allow(deprecated)] // A borrowed descriptor cannot be closed while it is registered.
        let readiness = match AsyncFd::new(self.socket.as_fd()) {
            Ok(readiness) => readiness,
            Err(error) => return self.fail_with(&mut self.lock_reader(), self.lost(&error)),
        };
        let mut readable = true;
        loop {
            if readable && let Err(error) = self.read_available() {
                return self.fail_with(&mut self.lock_reader(), error);
            }
            if self.load() > 0 {
                readable = self.wait_for_more(&readiness).await;
            } else if self.rest(&readiness).await {
                readable = true;
            } else {
                return;
            }
            self.flush();
        }
    }

    fn read_available(&self) -> Result<()> {
        let mut reader = self.lock_reader();
        while self.step(&mut reader, Wait::No)? {}
        Ok(())
    }

    /// Reads what came though nothing was asked: the end, or what belongs to the TLS session.
    pub(super) fn read_uninvited(&self) {
        if self.take_lead(Leader::Thread) {
            let mut reader = self.lock_reader();
            let mut more = Ok(true);
            while matches!(more, Ok(true)) {
                more = self.step(&mut reader, Wait::No);
            }
            let next = self.resign(&reader);
            match more {
                Ok(_) => drop(reader),
                Err(error) => self.fail_with(&mut reader, error),
            }
            self.summon(next);
        }
    }

    /// Waits until there is something to read, or to send; whether to read.
    async fn wait_for_more(&self, readiness: &AsyncFd<BorrowedFd<'_>>) -> bool {
        let writable = async {
            if self.stalled.load(Relaxed) {
                clear(readiness.writable().await);
            } else {
                // A write that stalls from now on notifies.
                self.wanted.notified().await;
            }
        };
        tokio::select! {
            guard = readiness.readable() => {
                clear(guard);
                true
            }
            // A write that had stalled goes on with the next step of reading.
            () = writable => self.stalled.load(Relaxed) || self.is_broken(),
        }
    }

    /// Waits a moment for more to do; false when there is nothing, or a thread leads. A thread that took over may have
    /// resigned again: what was asked since then woke this task alone.
    async fn rest(&self, readiness: &AsyncFd<BorrowedFd<'_>>) -> bool {
        self.lock().leader = Leader::Resting;
        let _ = timeout(REST, async {
            tokio::select! {
                guard = readiness.readable() => clear(guard),
                () = self.wanted.notified() => {}
            }
        })
        .await;
        let mut state = self.lock();
        let free = matches!(state.leader, Leader::Nobody | Leader::Resting) && state.broken.is_none();
        if free {
            state.leader = if self.load() > 0 || self.socket.is_readable() { Leader::Task } else { Leader::Nobody };
        }
        free && state.leader == Leader::Task
    }
}

/// Who leads next.
enum Next {
    Thread(Arc<Request>),
    Task,
    Nobody,
}

fn clear<T: AsRawFd>(guard: io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, T>>) {
    if let Ok(mut guard) = guard {
        guard.clear_ready();
    }
}
