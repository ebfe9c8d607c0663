//! Leading a connection: sending what is queued and reading the replies of all, by a caller's thread or by the
//! connection's own task.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::answer::Request;
use super::connection::{Connection, Leader};
use super::dial::is_tls_record;
use super::failure;
use super::reader::{CHUNK, Delivery, Reader};
use super::socket::Wait;
use crate::caller;
use crate::error::{Error, Result};

/// How long the task stays registered with nothing to wait for: under steady load it is never registered anew.
const REST: Duration = Duration::from_millis(50);

/// The leader's role, held by who leads. Given back by `resign`, or with an error by `fail`. If it is dropped instead,
/// by a panic or with a task that is cancelled, the connection is broken: nothing would ever read its replies.
struct Lead<'a>(Option<&'a Connection>);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.fail_with(&mut connection.lock_reader(), failure::leader_lost(&connection.server));
        }
    }
}

impl Lead<'_> {
    /// Ends the role: in order, or with what broke the connection.
    fn end(self, mut reader: MutexGuard<'_, Reader>, led: Result<()>) {
        match led {
            Ok(()) => self.resign(reader),
            Err(error) => self.fail(&mut reader, error),
        }
    }

    /// Hands over to whoever has to lead next. A connection that was broken meanwhile has no next leader: who broke it
    /// left it to this one to fail what waits.
    fn resign(mut self, mut reader: MutexGuard<'_, Reader>) {
        let Some(connection) = self.0 else { return };
        let next = connection.release(&reader);
        if matches!(next, Next::Broken) {
            connection.fail(&mut reader);
        }
        self.0 = None;
        drop(reader);
        connection.summon(next);
    }

    fn fail(mut self, reader: &mut Reader, error: Error) {
        if let Some(connection) = self.0 {
            connection.fail_with(reader, error);
            self.0 = None;
        }
    }

    /// Lets a thread take the role, with nothing to wait for. On a broken connection fails what waits instead.
    fn rest(mut self) -> bool {
        let Some(connection) = self.0 else { return false };
        let resting = {
            let mut state = connection.lock();
            let intact = state.broken.is_none();
            if intact {
                state.leader = Leader::Resting;
            }
            intact
        };
        if !resting {
            connection.fail(&mut connection.lock_reader());
        }
        self.0 = None;
        resting
    }
}

/// Breaks the connection when its own task ends, however that is: requests of tasks would wait for ever.
struct Attended<'a>(&'a Connection);

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.0.kill(failure::leader_lost(&self.0.server));
    }
}

impl Connection {
    /// Leads until a request is answered, or its caller's deadline; false if somebody else leads.
    pub(super) fn lead(&self, mine: &Request) -> bool {
        let Some(lead) = self.take_lead(Leader::Thread) else { return false };
        let mut reader = self.lock_reader();
        let led = self.read_until(&mut reader, mine);
        lead.end(reader, led);
        true
    }

    fn read_until(&self, reader: &mut Reader, mine: &Request) -> Result<()> {
        let deadline = caller::deadline();
        while mine.is_waiting() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            self.step(reader, Wait::Tick)?;
        }
        Ok(())
    }

    fn take_lead(&self, leader: Leader) -> Option<Lead<'_>> {
        let mut state = self.lock();
        let free = matches!(state.leader, Leader::Nobody | Leader::Resting) && state.broken.is_none();
        free.then(|| {
            state.leader = leader;
            Lead(Some(self))
        })
    }

    fn fail_with(&self, reader: &mut Reader, error: Error) {
        self.lock().broken.get_or_insert(error);
        self.fail(reader);
    }

    /// A request was given up: if nobody leads any more, somebody else has to.
    pub(super) fn hand_over(&self) {
        let lead = {
            let mut state = self.lock();
            if state.leader != Leader::Nobody || state.broken.is_some() {
                return;
            }
            state.leader = Leader::Thread;
            Lead(Some(self))
        };
        lead.resign(self.lock_reader());
    }

    /// Gives the lead up, and returns who should lead next.
    fn release(&self, reader: &Reader) -> Next {
        let mut state = self.lock();
        if state.broken.is_some() {
            return Next::Broken;
        }
        state.leader = Leader::Nobody;
        // The one whose reply comes last leads longest.
        let waiting = || state.expected.iter().rev().chain(reader.expected.iter().rev()).map(|it| &it.request);
        match waiting().find(|request| request.is_parked()) {
            Some(request) => Next::Thread(Arc::clone(request)),
            None if waiting().any(|request| !request.blocking && request.is_awaited()) => Next::Task,
            None => Next::Nobody,
        }
    }

    fn summon(&self, next: Next) {
        match next {
            Next::Thread(request) => request.wake(),
            Next::Task => self.wanted.notify_one(),
            Next::Nobody | Next::Broken => {}
        }
    }

    /// Receives once and hands out the replies; returns whether there may be more at once. A panic, which bytes of the
    /// server may have caused, ends only the connection.
    fn step(&self, reader: &mut Reader, wait: Wait) -> Result<bool> {
        catch_unwind(AssertUnwindSafe(|| self.receive(reader, wait)))
            .unwrap_or_else(|payload| Err(failure::panicked(&self.server, payload)))
    }

    fn receive(&self, reader: &mut Reader, mut wait: Wait) -> Result<bool> {
        if self.stalled.load(Relaxed) {
            self.resume(wait)?;
            wait = Wait::No;
        }
        let space = reader.space().map_err(|_| failure::no_memory_for_reply(&self.server))?;
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
        if is_tls_record(reader.rest()) {
            return Err(failure::speaks_tls(&self.server));
        }
        let mut answered = 0;
        while let Some(range) = reader.next().map_err(|what| failure::protocol_error(&self.server, &what))? {
            self.adopt_expected(reader);
            let delivery =
                reader.deliver(range, &self.server).ok_or_else(|| failure::closed_or_uninvited(&self.server))?;
            answered += u32::from(delivery != Delivery::Part);
            if delivery == Delivery::Unwanted {
                self.abandoned.fetch_sub(1, Relaxed);
            }
        }
        if reader.rest().len() > CHUNK {
            self.adopt_expected(reader);
            reader.check_length().map_err(|what| failure::protocol_error(&self.server, &what))?;
        }
        if reader.oversized > 0 {
            self.note_oversized(std::mem::take(&mut reader.oversized));
        }
        self.answered(answered);
        if !self.answers.load(Relaxed) {
            self.answers.store(true, Relaxed);
        }
        let write = {
            let mut state = self.lock();
            state.outgoing.answered(u64::from(answered));
            state.outgoing.begin()
        };
        self.transmit(write);
        Ok(())
    }

    /// Takes the requests that are answered next.
    fn adopt_expected(&self, reader: &mut Reader) {
        if reader.expected.is_empty() {
            std::mem::swap(&mut reader.expected, &mut self.lock().expected);
        }
    }

    /// The connection's own task: leads while tasks wait and no thread leads.
    pub(super) async fn run(self: Arc<Self>) {
        let _attended = Attended(&self);
        while !self.is_broken() {
            self.wanted.notified().await;
            self.flush();
            if let Some(lead) = self.take_lead(Leader::Task) {
                self.lead_as_task(lead).await;
                self.flush();
            }
        }
    }

    async fn lead_as_task<'a>(&'a self, mut lead: Lead<'a>) {
        #[allow(deprecated)] // A borrowed descriptor cannot be closed while it is registered.
        let readiness = match AsyncFd::new(self.socket.as_fd()) {
            Ok(readiness) => readiness,
            Err(error) => return lead.fail(&mut self.lock_reader(), self.lost(&error)),
        };
        let mut readable = true;
        loop {
            if readable && let Err(error) = self.read_available() {
                return lead.fail(&mut self.lock_reader(), error);
            }
            if self.load() > 0 {
                readable = self.wait_for_more(&readiness).await;
            } else {
                let Some(taken_again) = self.rest(lead, &readiness).await else { return };
                (lead, readable) = (taken_again, true);
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
        let Some(lead) = self.take_lead(Leader::Thread) else { return };
        let mut reader = self.lock_reader();
        let mut more = Ok(true);
        while matches!(more, Ok(true)) {
            more = self.step(&mut reader, Wait::No);
        }
        lead.end(reader, more.map(drop));
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

    /// Waits a moment for more to do; `None` when there is nothing, or a thread leads. A thread that took over may have
    /// resigned again: what was asked since then woke this task alone.
    async fn rest<'a>(&'a self, lead: Lead<'a>, readiness: &AsyncFd<BorrowedFd<'_>>) -> Option<Lead<'a>> {
        if !lead.rest() {
            return None;
        }
        let _ = timeout(REST, async {
            tokio::select! {
                guard = readiness.readable() => clear(guard),
                () = self.wanted.notified() => {}
            }
        })
        .await;
        let mut state = self.lock();
        if !matches!(state.leader, Leader::Nobody | Leader::Resting) || state.broken.is_some() {
            return None;
        }
        let wanted = self.load() > 0 || self.socket.is_readable();
        state.leader = if wanted { Leader::Task } else { Leader::Nobody };
        wanted.then(|| Lead(Some(self)))
    }
}

/// Who leads next.
enum Next {
    Thread(Arc<Request>),
    Task,
    Nobody,
    /// The connection is broken.
    Broken,
}

fn clear<T: AsRawFd>(guard: io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, T>>) {
    if let Ok(mut guard) = guard {
        guard.clear_ready();
    }
}

#[cfg(test)]
mod tests;
