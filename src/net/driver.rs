//! Drives a connection by leader/follower: the leader sends queued requests and reads the replies of all callers.
//!
//! A blocked caller leads on its own thread until its reply has come, and then hands the role to a follower. The
//! connection's own task leads for the callers that are tasks. The submitter of a lone submission to a queue leads for
//! a moment, and leaves a reply that takes longer to the task.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::connection::{Connection, Leader};
use super::dial::is_tls_record;
use super::failure;
use super::reader::{CHUNK, Delivery, Reader};
use super::request::Request;
use super::socket::{TICK, Wait};
use crate::error::{Error, Result};
use crate::exec::context::CallContext;

/// The time for which the task stays registered without requests in flight: steady load never registers it again.
const IDLE: Duration = Duration::from_millis(50);

/// The longest pause between the replies to a request whose caller gave up: after it, what comes may be the replies to a
/// later request, and would shift all that follow. A leader always reads such replies, so any pause is the server's.
const PAUSE: Duration = Duration::from_millis(100);
/// The time after which the task looks again for such replies: longer than the pause by more than the tick of the clock.
const LOOK: Duration = Duration::from_millis(110);

/// The time for which a thread reads without sleeping: on a virtual machine, a thread needs about as long to wake up.
const SPIN: Duration = Duration::from_micros(50);
/// The number of requests whose thread sleeps after one whose reply took longer than that.
const SKIPPED: u32 = 15;

/// The leader's role. `release` gives it back, and `fail` gives it back with an error. Dropping it instead, by a panic
/// or with a cancelled task, breaks the connection: nothing would ever read its replies.
pub(super) struct Leadership<'a>(Option<&'a Connection>);

impl Drop for Leadership<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.fail_with(&mut connection.lock_reader(), failure::leader_lost(&connection.server));
        }
    }
}

impl Leadership<'_> {
    /// Gives the role back: in order, or with the error that broke the connection.
    fn finish(self, mut reader: MutexGuard<'_, Reader>, led: Result<()>) {
        match led {
            Ok(()) => self.release(reader),
            Err(error) => self.fail(&mut reader, error),
        }
    }

    /// Hands the role to the next leader. A connection that was broken meanwhile has none: `kill` left it to this leader
    /// to fail the requests in flight.
    pub(super) fn release(mut self, mut reader: MutexGuard<'_, Reader>) {
        let Some(connection) = self.0 else { return };
        let next = connection.next_leader(&reader);
        if matches!(next, NextLeader::Broken) {
            connection.fail(&mut reader);
        }
        self.0 = None;
        drop(reader);
        connection.wake_next(next);
    }

    pub(super) fn fail(mut self, reader: &mut Reader, error: Error) {
        if let Some(connection) = self.0 {
            connection.fail_with(reader, error);
            self.0 = None;
        }
    }

    /// Lets a thread take the role while no request is in flight. Returns false on a broken connection, after it has
    /// failed the requests in flight.
    fn go_idle(mut self) -> bool {
        let Some(connection) = self.0 else { return false };
        let is_idle = {
            let mut state = connection.lock();
            let intact = state.broken.is_none();
            if intact {
                state.leader = Leader::Idle;
            }
            intact
        };
        if !is_idle {
            connection.fail(&mut connection.lock_reader());
        }
        self.0 = None;
        is_idle
    }
}

/// Breaks the connection when its own task ends for any reason: requests of tasks would wait forever.
struct TaskGuard<'a>(&'a Connection);

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        self.0.kill(failure::leader_lost(&self.0.server));
    }
}

impl Connection {
    /// Leads until a request is answered, or until its caller's deadline; after it, reads what has come. Returns false if
    /// another leads.
    pub(super) fn drive_until(&self, context: CallContext, mine: &Request) -> bool {
        let Some(lead) = self.try_lead(Leader::Thread) else { return false };
        let mut reader = self.lock_reader();
        let led = self.read_until(context, &mut reader, mine);
        lead.finish(reader, led);
        true
    }

    fn read_until(&self, context: CallContext, reader: &mut Reader, mine: &Request) -> Result<()> {
        if context.is_over() {
            return self.read_received(reader, mine);
        }
        while mine.is_waiting() && !context.is_over() && !context.is_cancelled() {
            self.step(reader, Wait::Tick)?;
        }
        Ok(())
    }

    /// Reads what has come, without waiting for more: a reply that came in time counts, also if the thread is late because it
    /// waited for another server or for a processor. A server that sends without end holds the caller up for a tick at most.
    fn read_received(&self, reader: &mut Reader, mine: &Request) -> Result<()> {
        let end = Instant::now() + TICK;
        while mine.is_waiting() && self.step(reader, Wait::No)? && Instant::now() < end {}
        Ok(())
    }

    /// Leads until a request is answered, or for a moment that ends at `end`, unless another leads. `spins`: does not sleep at
    /// first.
    pub(super) fn drive_for_a_moment(&self, end: Instant, spins: bool, mine: &Request) {
        let Some(lead) = self.try_lead(Leader::Thread) else { return };
        let mut reader = self.lock_reader();
        let mut led = if spins { self.spin(&mut reader, mine) } else { Ok(false) };
        while led.is_ok() && mine.is_waiting() && Instant::now() < end {
            led = self.step(&mut reader, Wait::Until(end));
        }
        lead.finish(reader, led.map(drop));
    }

    /// Reads again and again while the reply of a near server may come sooner than a sleeping thread would wake up. After a
    /// reply that took longer, the next ones are not waited for like this.
    fn spin(&self, reader: &mut Reader, mine: &Request) -> Result<bool> {
        let skip = self.spins_to_skip.load(Relaxed);
        if skip > 0 {
            self.spins_to_skip.store(skip - 1, Relaxed);
            return Ok(false);
        }
        let end = Instant::now() + SPIN;
        while mine.is_waiting() {
            if Instant::now() >= end {
                self.spins_to_skip.store(SKIPPED, Relaxed);
                break;
            }
            self.step(reader, Wait::No)?;
        }
        Ok(false)
    }

    /// Takes the leader's role if it is free.
    pub(super) fn try_lead(&self, leader: Leader) -> Option<Leadership<'_>> {
        let mut state = self.lock();
        let free = matches!(state.leader, Leader::None | Leader::Idle) && state.broken.is_none();
        free.then(|| {
            state.leader = leader;
            Leadership(Some(self))
        })
    }

    fn fail_with(&self, reader: &mut Reader, error: Error) {
        self.lock().broken.get_or_insert(error);
        self.fail(reader);
    }

    /// Finds another leader after a request was cancelled, if its caller was to lead. A task that leads looks whether the
    /// replies to the request have begun.
    pub(super) fn on_cancel(&self) {
        let lead = {
            let mut state = self.lock();
            match state.leader {
                Leader::None if state.broken.is_none() => {}
                Leader::Task => return self.task_wakeup.notify_one(),
                _ => return,
            }
            state.leader = Leader::Thread;
            Leadership(Some(self))
        };
        lead.release(self.lock_reader());
    }

    /// Frees the role, and returns the follower that should lead next.
    fn next_leader(&self, reader: &Reader) -> NextLeader {
        let mut state = self.lock();
        if state.broken.is_some() {
            return NextLeader::Broken;
        }
        state.leader = Leader::None;
        // The follower whose reply comes last leads longest.
        let waiting = || state.expected.iter().rev().chain(reader.expected.iter().rev()).map(|it| &it.request);
        match waiting().find(|request| request.is_parked()) {
            Some(request) => NextLeader::Thread(Arc::clone(request)),
            None if waiting().any(|request| !request.blocking && request.is_awaited()) => NextLeader::Task,
            None if reader.is_abandoned() => NextLeader::Task,
            None => NextLeader::None,
        }
    }

    /// Wakes the next leader.
    fn wake_next(&self, next: NextLeader) {
        match next {
            NextLeader::Thread(request) => request.wake(),
            NextLeader::Task => self.task_wakeup.notify_one(),
            NextLeader::None | NextLeader::Broken => {}
        }
    }

    /// Receives once and hands out the replies; returns whether there may be more at once. A panic, which bytes of the
    /// server may have caused, breaks this connection only.
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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if reader.is_abandoned() && self.idle() > PAUSE {
                    return Err(failure::protocol_error(&self.server, "too few replies to a request"));
                }
                Ok(false)
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, error: &io::Error) -> Error {
        failure::lost(&self.server, error)
    }

    /// Continues a write that the socket did not take whole.
    fn resume(&self, wait: Wait) -> Result<()> {
        if wait == Wait::Tick {
            self.socket.wait_for_either().map_err(|error| self.lost(&error))?;
        }
        self.stalled.store(false, Relaxed);
        let rest = self.lock().outgoing.resume();
        self.transmit(Some(rest));
        Ok(())
    }

    /// Hands whole replies to the requests they answer, and sends the requests that waited for that.
    fn distribute(&self, reader: &mut Reader) -> Result<()> {
        if is_tls_record(reader.rest()) {
            return Err(failure::speaks_tls(&self.server));
        }
        let mut answered = 0;
        while let Some(range) = reader.next().map_err(|what| failure::protocol_error(&self.server, &what))? {
            self.adopt_expected(reader);
            let delivery =
                reader.deliver(range, &self.server).ok_or_else(|| failure::closed_or_unsolicited(&self.server))?;
            answered += u32::from(delivery != Delivery::Part);
            if delivery == Delivery::Unwanted {
                self.cancelled.fetch_sub(1, Relaxed);
            }
        }
        reader.keep_delivered();
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

    /// Moves the requests that are answered next from the queue to the reader.
    fn adopt_expected(&self, reader: &mut Reader) {
        if reader.expected.is_empty() {
            std::mem::swap(&mut reader.expected, &mut self.lock().expected);
        }
    }

    /// Runs as the connection's own task: leads while tasks wait and no thread leads.
    pub(super) async fn drive(self: Arc<Self>) {
        let _guard = TaskGuard(&self);
        while !self.is_broken() {
            self.task_wakeup.notified().await;
            self.flush();
            if let Some(lead) = self.try_lead(Leader::Task) {
                self.drive_as_task(lead).await;
                self.flush();
            }
        }
    }

    async fn drive_as_task<'a>(&'a self, mut lead: Leadership<'a>) {
        #[allow(deprecated)] // A borrowed descriptor cannot be closed while it is registered.
        let readiness = match AsyncFd::new(self.socket.as_fd()) {
            Ok(readiness) => readiness,
            Err(error) => return lead.fail(&mut self.lock_reader(), self.lost(&error)),
        };
        let (mut readable, mut abandoned) = (true, false);
        loop {
            if readable {
                match self.read_available() {
                    Ok(is_abandoned) => abandoned = is_abandoned,
                    Err(error) => return lead.fail(&mut self.lock_reader(), error),
                }
            }
            if self.load() > 0 {
                readable = if abandoned {
                    timeout(LOOK, self.wait_for_more(&readiness)).await.unwrap_or(true)
                } else {
                    self.wait_for_more(&readiness).await
                };
            } else {
                let Some(taken_again) = self.stay_idle(lead, &readiness).await else { return };
                (lead, readable) = (taken_again, true);
            }
            self.flush();
        }
    }

    /// Reads what there is; returns whether the caller of the first request gave up between its replies.
    fn read_available(&self) -> Result<bool> {
        let mut reader = self.lock_reader();
        while self.step(&mut reader, Wait::No)? {}
        Ok(reader.is_abandoned())
    }

    /// Reads bytes that no thread reads, unless another leads: the end of the connection, records of the TLS session, or replies
    /// whose caller is late. Returns false if another leads. A server that sends without end holds the thread up for a tick at
    /// most.
    pub(super) fn read_unattended(&self) -> bool {
        let Some(lead) = self.try_lead(Leader::Thread) else { return false };
        let mut reader = self.lock_reader();
        let (mut more, end) = (Ok(true), Instant::now() + TICK);
        while matches!(more, Ok(true)) && Instant::now() < end {
            more = self.step(&mut reader, Wait::No);
        }
        lead.finish(reader, more.map(drop));
        true
    }

    /// Waits until there is something to read, or to send; returns whether to read.
    async fn wait_for_more(&self, readiness: &AsyncFd<BorrowedFd<'_>>) -> bool {
        let writable = async {
            if self.stalled.load(Relaxed) {
                clear(readiness.writable().await);
            } else {
                // A write that stalls from now on notifies.
                self.task_wakeup.notified().await;
            }
        };
        tokio::select! {
            guard = readiness.readable() => {
                clear(guard);
                true
            }
            // The next step of reading continues a write that had stalled, or finds a request that was given up.
            () = writable => self.stalled.load(Relaxed) || self.is_broken() || self.cancelled() > 0,
        }
    }

    /// Waits a moment for more to do; `None` when there is nothing, or a thread leads. A thread that took over may have
    /// released the role again: requests since then woke this task alone.
    async fn stay_idle<'a>(
        &'a self,
        lead: Leadership<'a>,
        readiness: &AsyncFd<BorrowedFd<'_>>,
    ) -> Option<Leadership<'a>> {
        if !lead.go_idle() {
            return None;
        }
        let _ = timeout(IDLE, async {
            tokio::select! {
                guard = readiness.readable() => clear(guard),
                () = self.task_wakeup.notified() => {}
            }
        })
        .await;
        let mut state = self.lock();
        if !matches!(state.leader, Leader::None | Leader::Idle) || state.broken.is_some() {
            return None;
        }
        let wanted = self.load() > 0 || self.socket.is_readable();
        state.leader = if wanted { Leader::Task } else { Leader::None };
        wanted.then(|| Leadership(Some(self)))
    }
}

/// The follower that leads next.
enum NextLeader {
    Thread(Arc<Request>),
    Task,
    None,
    /// The connection is broken.
    Broken,
}

/// Clears a readiness that was used up, so that the next wait is for another.
pub(super) fn clear<T: AsRawFd>(guard: io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, T>>) {
    if let Ok(mut guard) = guard {
        guard.clear_ready();
    }
}

#[cfg(test)]
mod tests;
