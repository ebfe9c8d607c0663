//! The task of a queue on the runtime: runs operations that were not done at once, and wakes the host.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use arc_swap::Guard;
use futures_util::future::BoxFuture;
use smallvec::SmallVec;

use super::Ticket;
use super::owned::Owned;
use super::shared::Shared;
use super::state::{Begun, Command, Outcomes, Tickets, slot_of};
use super::tasks::Tasks;
use crate::cache::{CacheHandle, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::operation::Outcome;

/// Operations that run as one, of one or several submissions.
pub(super) type Operations = SmallVec<[Owned; 1]>;

/// The most operations that run as one: more would make the first wait for the last.
pub(super) const MOST: usize = 64;

struct Driver {
    shared: Arc<Shared>,
    handle: Arc<CacheHandle>,
    groups: Groups,
    /// Buffers that are reused, to save their allocations.
    commands: Vec<Command>,
    ended: Vec<(Ticket, Result<Outcome>)>,
    /// Operations to be started as one.
    batch: (Tickets, Operations),
}

/// Returns the task of a queue.
pub(super) fn drive(shared: Arc<Shared>, handle: Arc<CacheHandle>) -> BoxFuture<'static, ()> {
    let groups = Groups::new(Tasks::new(shared.waker.clone()));
    let (commands, ended, batch) = Default::default();
    let mut driver = Driver { shared, handle, groups, commands, ended, batch };
    Box::pin(poll_fn(move |context| driver.poll(context)))
}

/// Runs operations of one kind as one operation, or a single operation of any kind.
pub(super) fn run(context: CallContext, handle: Arc<CacheHandle>, operations: Operations) -> Begun {
    Box::pin(async move {
        let strings: Vec<&[u8]> = operations.iter().flat_map(Owned::strings).collect();
        match &operations[..] {
            [only] if only.len() == 1 => {
                let entries = only.entries(&strings);
                let mut outcomes = Outcomes::new();
                for request in only.views(&strings, &entries) {
                    outcomes.push(match &request {
                        // No call in flight on the cache, for whose end a switch would wait.
                        Request::NextMessage { subscription } => subscription.next_outcome(context).await,
                        request => Guard::into_inner(handle.load()).run(context, request).await,
                    });
                }
                outcomes
            }
            several => {
                let mut rest = &strings[..];
                let views = several.iter().flat_map(|owned| {
                    let (own, others) = rest.split_at_checked(owned.strings().count()).unwrap_or_default();
                    rest = others;
                    owned.views(own, &[])
                });
                let requests = views.map(Ok).collect();
                Guard::into_inner(handle.load()).batch(context, requests).await.into()
            }
        }
    })
}

impl Driver {
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        self.shared.waker.register(context.waker());
        if let Some(wake) = self.shared.take_commands(&mut self.commands) {
            wake();
        }
        self.dispatch();
        let ended = &mut self.ended;
        self.groups.poll(|ticket, result| ended.push((ticket, result)));
        self.hand_over();
        if self.shared.is_finished() {
            return Poll::Ready(());
        }
        if self.groups.has_woken() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Starts and stops requests. Neighbours of one kind run as one operation, if that waits no longer than each of
    /// them.
    fn dispatch(&mut self) {
        let one_server = self.handle.load().is_one_server();
        let mut key = None;
        let mut commands = mem::take(&mut self.commands);
        for command in commands.drain(..) {
            match command {
                Command::Start(tickets, operations) => {
                    let own = operations.batch_key().filter(|_| one_server);
                    if own.is_none() || own != key || self.batch.0.len() + tickets.len() > MOST {
                        self.start_batch();
                        key = own;
                    }
                    self.batch.0.extend(tickets);
                    self.batch.1.push(operations);
                }
                Command::Continue(tickets, begun) => {
                    self.start_batch();
                    self.groups.start(tickets, begun);
                }
                Command::Stop(ticket) => {
                    self.start_batch();
                    self.groups.stop(ticket);
                }
            }
        }
        self.start_batch();
        self.commands = commands;
    }

    fn start_batch(&mut self) {
        let (tickets, operations) = mem::take(&mut self.batch);
        if !tickets.is_empty() {
            self.groups.start(tickets, run(CallContext::task(), self.handle.clone(), operations));
        }
    }

    /// Completes an operation. The result of a cancelled one is dropped here, outside the lock.
    fn hand_over(&mut self) {
        if !self.ended.is_empty() {
            let ended = &mut self.ended;
            let too_late: Vec<_> = self
                .shared
                .change(|state| ended.drain(..).filter_map(|(ticket, result)| state.finish(ticket, result)).collect());
            drop(too_late);
        }
    }
}

impl Drop for Driver {
    /// Completes the operations in flight, however the driver ends.
    fn drop(&mut self) {
        let kind = if thread::panicking() { ErrorKind::Panic } else { ErrorKind::Cancelled };
        self.shared.driver_ended(&Error::new(kind, "the queue's thread ended before the operation"));
    }
}

// ---- Operations that run as one: a future, and a command, for one or many ----

/// The group number of a slot without an operation.
const NONE: usize = usize::MAX;

/// The running groups.
struct Groups {
    tasks: Tasks<Begun>,
    groups: Vec<Group>,
    free: Vec<usize>,
    /// The group of each slot.
    group_of: Vec<usize>,
}

#[derive(Default)]
struct Group {
    tickets: Tickets,
    /// The number of those that were not cancelled.
    wanted: usize,
}

impl Groups {
    /// Creates the groups. They run in `tasks`.
    fn new(tasks: Tasks<Begun>) -> Self {
        Self { tasks, groups: Vec::new(), free: Vec::new(), group_of: Vec::new() }
    }

    /// Runs operations in a group.
    fn start(&mut self, tickets: Tickets, running: Begun) {
        let at = self.place(tickets);
        self.tasks.start(at, running);
    }

    /// Drops a group of which all operations were cancelled.
    fn stop(&mut self, ticket: Ticket) {
        let at = self.group_of.get(slot_of(ticket)).copied().unwrap_or(NONE);
        let Some(group) = self.groups.get_mut(at) else { return };
        group.wanted -= 1;
        if group.wanted == 0 {
            self.tasks.stop(at);
            self.leave(at);
        }
    }

    /// Polls the groups that were woken, and passes on the results of their operations.
    fn poll(&mut self, mut ended: impl FnMut(Ticket, Result<Outcome>)) {
        let mut over: SmallVec<[_; 4]> = SmallVec::new();
        self.tasks.poll(|at, outcomes| over.push((at, outcomes)));
        for (at, outcomes) in over {
            let tickets = self.leave(at);
            results_of(outcomes, tickets.len()).zip(tickets).for_each(|(result, ticket)| ended(ticket, result));
        }
    }

    /// Returns true if some were woken since.
    fn has_woken(&self) -> bool {
        self.tasks.has_woken()
    }

    fn place(&mut self, tickets: Tickets) -> usize {
        let at = self.free.pop().unwrap_or(self.groups.len());
        if at == self.groups.len() {
            self.groups.push(Group::default());
        }
        for slot in tickets.iter().map(|ticket| slot_of(*ticket)) {
            if self.group_of.len() <= slot {
                self.group_of.resize(slot + 1, NONE);
            }
            self.group_of[slot] = at;
        }
        self.groups[at] = Group { wanted: tickets.len(), tickets };
        at
    }

    fn leave(&mut self, at: usize) -> Tickets {
        let tickets = mem::take(&mut self.groups[at]).tickets;
        for slot in tickets.iter().map(|ticket| slot_of(*ticket)) {
            if self.group_of[slot] == at {
                self.group_of[slot] = NONE;
            }
        }
        self.free.push(at);
        tickets
    }
}

/// Returns the result of each operation. If the group panicked, each operation has the panic as its error.
pub(super) fn results_of(outcomes: thread::Result<Outcomes>, count: usize) -> impl Iterator<Item = Result<Outcome>> {
    let outcomes = outcomes.unwrap_or_else(|payload| {
        let error = Error::panicked("an operation of a queue", payload);
        std::iter::repeat_n(error, count).map(Err).collect()
    });
    // Each operation has a result, whatever came.
    let missing = std::iter::repeat_with(|| Err(Error::new(ErrorKind::Protocol, "the operation has no result")));
    outcomes.into_iter().chain(missing).take(count)
}
