//! The task of a queue on the runtime: runs operations that were not done at once, and wakes the host.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use arc_swap::Guard;
use futures_util::future::BoxFuture;

use super::Ticket;
use super::owned::Owned;
use super::shared::Shared;
use super::state::{Command, slot_of};
use super::tasks::Tasks;
use crate::cache::{Cache, CacheHandle, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::operation::Outcome;

struct Driver {
    shared: Arc<Shared>,
    handle: Arc<CacheHandle>,
    single: Tasks<BoxFuture<'static, Result<Outcome>>>,
    batched: Groups<BoxFuture<'static, Vec<Result<Outcome>>>>,
    /// Buffers that are reused, to save their allocations.
    commands: Vec<Command>,
    batch: Vec<(Ticket, Owned)>,
    ended: Vec<(Ticket, Result<Outcome>)>,
}

/// Returns the task of a queue.
pub(super) fn drive(shared: Arc<Shared>, handle: Arc<CacheHandle>) -> BoxFuture<'static, ()> {
    let (single, batched) = (Tasks::new(shared.waker.clone()), Groups::new(Tasks::new(shared.waker.clone())));
    let (commands, batch, ended) = (Vec::new(), Vec::new(), Vec::new());
    let mut driver = Driver { shared, handle, single, batched, commands, batch, ended };
    Box::pin(poll_fn(move |context| driver.poll(context)))
}

pub(super) async fn run(context: CallContext, handle: Arc<CacheHandle>, operation: Owned) -> Result<Outcome> {
    let cache = Guard::into_inner(handle.load());
    operation.run(context, &cache).await
}

async fn run_all(handle: Arc<CacheHandle>, operations: Vec<Owned>) -> Vec<Result<Outcome>> {
    let cache = Guard::into_inner(handle.load());
    run_batch(&cache, operations).await
}

impl Driver {
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        self.shared.waker.register(context.waker());
        if let Some(wake) = self.shared.take_commands(&mut self.commands) {
            wake();
        }
        self.dispatch();
        let ended = &mut self.ended;
        self.single.poll(|ticket, output| ended.push((ticket, flatten(output))));
        self.batched.poll(|ticket, result| ended.push((ticket, result)));
        self.hand_over();
        if self.shared.is_finished() {
            return Poll::Ready(());
        }
        if self.single.has_woken() || self.batched.has_woken() {
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
                Command::Start(ticket, operation) => {
                    let own = operation.batch_key().filter(|_| one_server);
                    if own != key {
                        self.start_batch();
                        key = own;
                    }
                    self.batch.push((ticket, operation));
                    if key.is_none() {
                        self.start_batch();
                    }
                }
                Command::Continue(ticket, begun) => {
                    self.start_batch();
                    self.batched.forget(slot_of(ticket));
                    self.single.start(slot_of(ticket), ticket, begun);
                }
                Command::Stop(ticket) => {
                    self.start_batch();
                    if !self.batched.stop(ticket) {
                        self.single.stop(slot_of(ticket), ticket);
                    }
                }
            }
        }
        self.start_batch();
        self.commands = commands;
    }

    fn start_batch(&mut self) {
        match self.batch.pop() {
            None => {}
            Some((ticket, operation)) if self.batch.is_empty() => {
                self.batched.forget(slot_of(ticket));
                let future = Box::pin(run(CallContext::task(), self.handle.clone(), operation));
                self.single.start(slot_of(ticket), ticket, future);
            }
            Some(last) => {
                self.batch.push(last);
                let handle = &self.handle;
                self.batched.start(&mut self.batch, |operations| Box::pin(run_all(handle.clone(), operations)));
            }
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

fn flatten(output: thread::Result<Result<Outcome>>) -> Result<Outcome> {
    output.unwrap_or_else(|payload| Err(Error::panicked("an operation of a queue", payload)))
}

impl Drop for Driver {
    /// Completes the operations in flight, however the driver ends.
    fn drop(&mut self) {
        let kind = if thread::panicking() { ErrorKind::Panic } else { ErrorKind::Cancelled };
        self.shared.driver_ended(&Error::new(kind, "the queue's thread ended before the operation"));
    }
}

// ---- Requests of one kind that run as one operation: a future, and a command, for many ----

/// The most requests that run as one operation: more would make the first wait for the last.
const MOST: usize = 64;
/// The group number of an operation without a group.
const NONE: usize = usize::MAX;

/// The running groups.
struct Groups<F> {
    tasks: Tasks<F>,
    groups: Vec<Group>,
    free: Vec<usize>,
    /// The group of each slot.
    group_of: Vec<usize>,
}

#[derive(Default)]
struct Group {
    tickets: Vec<Ticket>,
    /// The number of those that were not cancelled.
    wanted: usize,
}

impl<F: Future<Output = Vec<Result<Outcome>>>> Groups<F> {
    /// Creates the groups. They run in `tasks`.
    fn new(tasks: Tasks<F>) -> Self {
        Self { tasks, groups: Vec::new(), free: Vec::new(), group_of: Vec::new() }
    }

    /// Runs operations of one kind in groups. `start` makes the future of a group.
    fn start(&mut self, works: &mut Vec<(Ticket, Owned)>, mut start: impl FnMut(Vec<Owned>) -> F) {
        while !works.is_empty() {
            let (tickets, operations) = works.drain(..works.len().min(MOST)).unzip();
            let at = self.place(tickets);
            self.tasks.start(at, at as u64, start(operations));
        }
    }

    /// Marks the operation of a slot as one without a group.
    fn forget(&mut self, slot: usize) {
        if let Some(group) = self.group_of.get_mut(slot) {
            *group = NONE;
        }
    }

    /// Drops a group of which all requests were cancelled. Returns false if the ticket was in no group.
    fn stop(&mut self, ticket: Ticket) -> bool {
        let at = self.group_of.get(slot_of(ticket)).copied().unwrap_or(NONE);
        let Some(group) = self.groups.get_mut(at) else { return false };
        group.wanted -= 1;
        if group.wanted == 0 {
            self.tasks.stop(at, at as u64);
            self.leave(at);
        }
        true
    }

    /// Polls the groups that were woken, and passes on the results of their operations.
    fn poll(&mut self, mut ended: impl FnMut(Ticket, Result<Outcome>)) {
        let mut over = Vec::new();
        self.tasks.poll(|at, results| over.push((at, results)));
        for (at, results) in over {
            #[allow(clippy::cast_possible_truncation)] // It was a place.
            let tickets = self.leave(at as usize);
            results_of(results, tickets.len()).zip(tickets).for_each(|(result, ticket)| ended(ticket, result));
        }
    }

    /// Returns true if some were woken since.
    fn has_woken(&self) -> bool {
        self.tasks.has_woken()
    }

    fn place(&mut self, tickets: Vec<Ticket>) -> usize {
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

    fn leave(&mut self, at: usize) -> Vec<Ticket> {
        let tickets = std::mem::take(&mut self.groups[at]).tickets;
        for slot in tickets.iter().map(|ticket| slot_of(*ticket)) {
            if self.group_of[slot] == at {
                self.group_of[slot] = NONE;
            }
        }
        self.free.push(at);
        tickets
    }
}

/// Returns the outcome of each operation. If the group panicked, each operation has the panic as its error.
fn results_of(
    results: thread::Result<Vec<Result<Outcome>>>,
    count: usize,
) -> Box<dyn Iterator<Item = Result<Outcome>>> {
    match results {
        Ok(results) => Box::new(results.into_iter()),
        Err(payload) => {
            let error = Error::panicked("an operation of a queue", payload);
            Box::new(std::iter::repeat_n(error, count).map(Err))
        }
    }
}

/// Runs requests of one kind as one operation.
async fn run_batch(cache: &Cache, operations: Vec<Owned>) -> Vec<Result<Outcome>> {
    let (mut strings, mut ends) = (Vec::with_capacity(operations.len()), Vec::with_capacity(operations.len()));
    for operation in &operations {
        strings.extend(operation.strings());
        ends.push(strings.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let views: Vec<Result<Request>> = (operations.iter().zip(starts.zip(&ends)))
        .map(|(operation, (start, end))| Ok(operation.view(&strings[start..*end], &[])))
        .collect();
    cache.batch(CallContext::task(), views).await
}
