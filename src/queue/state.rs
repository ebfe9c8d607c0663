//! The state of a queue under its one lock: operations in flight, completions that were not taken.

use std::collections::VecDeque;
use std::mem;

use futures_util::future::BoxFuture;
use smallvec::SmallVec;

use super::owned::Owned;
use super::{Completion, Label, Ticket};
use crate::cache::trace::Span;
use crate::error::{Error, Result};
use crate::operation::Outcome;

/// Number of bits of a slot. The low bits of a ticket are its slot, the others are a counter: tickets are unique and
/// need no search.
const SLOT_BITS: u32 = 20;
/// The slot of an operation that was done before it got one.
const NO_SLOT: u64 = (1 << SLOT_BITS) - 1;
/// Largest number of operations of a queue: less than the number of slots.
pub(super) const MAX_CAPACITY: usize = 1_000_000;

/// Number of commands beyond the capacity: a small queue may cancel and submit several times before the driver runs.
const SPARE_COMMANDS: usize = 64;

/// Returns the slot of a ticket.
#[allow(clippy::cast_possible_truncation)] // 20 bits.
pub(super) fn slot_of(ticket: Ticket) -> usize {
    (ticket & NO_SLOT) as usize
}

/// Operations that run as one.
pub(super) type Begun = BoxFuture<'static, Outcomes>;
/// The outcome of each of them, in their order. A single one needs no allocation.
pub(super) type Outcomes = SmallVec<[Result<Outcome>; 1]>;
/// The ticket of each of them.
pub(super) type Tickets = SmallVec<[Ticket; 1]>;

/// A command for the driver; it runs them in their order.
pub(super) enum Command {
    /// Run operations as one.
    Start(Tickets, Owned),
    /// Continue operations that their submitter began.
    Continue(Tickets, Begun),
    /// Drop an operation: its completion exists already.
    Stop(Ticket),
}

/// The stage in the life of a queue.
#[derive(Clone)]
pub(super) enum Stage {
    /// It accepts operations.
    Open,
    /// It accepts no more operations, for a reason.
    Closed(Error),
    /// The queue was dropped.
    Abandoned,
}

pub(super) struct Flight {
    ticket: Ticket,
    label: Label,
    span: Option<Box<Span>>,
}

pub(super) struct State {
    capacity: usize,
    /// Room that running submissions have reserved.
    reserved: usize,
    counter: u64,
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
    done: VecDeque<Completion>,
    commands: Vec<Command>,
    pub(super) stage: Stage,
    /// True while a driver runs.
    pub(super) driven: bool,
    /// The number of threads that wait for a change.
    pub(super) watchers: usize,
}

impl State {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            reserved: 0,
            counter: 0,
            slots: Vec::new(),
            free: Vec::new(),
            done: VecDeque::new(),
            commands: Vec::new(),
            stage: Stage::Open,
            driven: false,
            watchers: 0,
        }
    }

    /// Returns the number of completions that can be taken.
    pub(super) fn ready(&self) -> usize {
        self.done.len()
    }

    /// Returns the number of completions that are still to come.
    pub(super) fn to_come(&self) -> usize {
        self.reserved + self.slots.len() - self.free.len()
    }

    /// Returns true if no completion will come any more.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.stage, Stage::Open) && self.to_come() == 0
    }

    /// Registers a driver. Returns false if one runs already.
    pub(super) fn begin_driving(&mut self) -> Result<bool> {
        if let Stage::Closed(reason) = &self.stage {
            return Err(reason.clone());
        }
        Ok(!mem::replace(&mut self.driven, true))
    }

    /// Reserves room for up to n operations.
    pub(super) fn reserve(&mut self, n: usize) -> Result<usize> {
        if let Stage::Closed(reason) = &self.stage {
            return Err(reason.clone());
        }
        // Cancelled operations that the driver has not dropped yet hold memory too.
        let crowded = self.commands.len() >= 2 * self.capacity + SPARE_COMMANDS;
        let used = if crowded { self.capacity } else { self.to_come() + self.done.len() };
        let room = n.min(self.capacity.saturating_sub(used));
        self.reserved += room;
        Ok(room)
    }

    /// Releases reserved room.
    pub(super) fn unreserve(&mut self, room: usize) {
        self.reserved -= room;
    }

    /// Returns the reason if the queue is closed.
    pub(super) fn closed(&self) -> Option<Error> {
        if let Stage::Closed(reason) = &self.stage { Some(reason.clone()) } else { None }
    }

    /// Passes operations to the driver.
    pub(super) fn start(&mut self, tickets: Tickets, operations: Owned) {
        self.commands.push(Command::Start(tickets, operations));
    }

    /// Passes operations that were begun to the driver.
    pub(super) fn continue_with(&mut self, tickets: Tickets, begun: Begun) {
        self.commands.push(Command::Continue(tickets, begun));
    }

    /// Returns the ticket of another operation in flight.
    pub(super) fn fly(&mut self, label: Label, span: Option<Box<Span>>) -> Ticket {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let ticket = self.next_ticket(slot as u64);
        self.slots[slot] = Some(Flight { ticket, label, span });
        ticket
    }

    /// Stores the completion of an operation that was done at once.
    pub(super) fn done_at_once(&mut self, label: Label, span: Option<Box<Span>>, result: Result<Outcome>) -> Ticket {
        let ticket = self.next_ticket(NO_SLOT);
        self.complete(Completion { ticket, label, result, span });
        ticket
    }

    /// Completes an operation in flight. Returns the result if the operation is not in flight any more.
    pub(super) fn finish(&mut self, ticket: Ticket, mut result: Result<Outcome>) -> Option<Result<Outcome>> {
        let slot = slot_of(ticket);
        let place = self.slots.get_mut(slot);
        let Some(flight) = place.and_then(|place| place.take_if(|flight| flight.ticket == ticket)) else {
            return Some(result);
        };
        if let Ok(Outcome::Message(taken)) = &mut result {
            taken.settle();
        }
        self.free.push(slot);
        self.complete(Completion { ticket, label: flight.label, result, span: flight.span });
        None
    }

    fn complete(&mut self, mut completion: Completion) {
        if let Some(span) = &mut completion.span {
            span.stop();
        }
        self.done.push_back(completion);
    }

    /// Completes an operation in flight without its result. Returns true if it was in flight.
    pub(super) fn cancel(&mut self, ticket: Ticket, reason: Error) -> bool {
        let was_there = self.finish(ticket, Err(reason)).is_none();
        if was_there {
            self.commands.push(Command::Stop(ticket));
        }
        was_there
    }

    /// Completes all operations in flight. Returns their number.
    pub(super) fn cancel_all(&mut self, reason: &Error) -> usize {
        let tickets: Vec<Ticket> = self.slots.iter().flatten().map(|flight| flight.ticket).collect();
        tickets.into_iter().filter(|ticket| self.cancel(*ticket, reason.clone())).count()
    }

    /// Takes the next completion.
    pub(super) fn take(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }

    /// Takes the commands for the driver.
    pub(super) fn take_commands(&mut self, into: &mut Vec<Command>) {
        mem::swap(&mut self.commands, into);
    }

    /// Returns true if there are commands for the driver.
    pub(super) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Drops the queue. Returns its completions and operations, to be dropped outside the lock.
    pub(super) fn abandon(&mut self) -> (VecDeque<Completion>, Vec<Option<Flight>>, Vec<Command>) {
        self.stage = Stage::Abandoned;
        self.free.clear();
        (mem::take(&mut self.done), mem::take(&mut self.slots), mem::take(&mut self.commands))
    }

    fn next_ticket(&mut self, slot: u64) -> Ticket {
        self.counter += 1;
        self.counter << SLOT_BITS | slot
    }
}
