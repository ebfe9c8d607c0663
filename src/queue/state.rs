//! The state of a queue under its one lock: operations in flight, completions that were not taken.

use std::collections::VecDeque;
use std::mem;

use super::owned::Owned;
use super::{Completion, Label, Ticket};
use crate::error::{Error, Result};
use crate::operation::Outcome;

/// The low bits of a ticket are its slot, the others count: no ticket comes twice, none has to be searched.
const SLOT_BITS: u32 = 20;
/// The slot of what was done before it could take one.
const NO_SLOT: u64 = (1 << SLOT_BITS) - 1;
/// The most operations of one queue: fewer than there are slots.
pub(super) const MAX_CAPACITY: usize = 1_000_000;

/// A small queue too may cancel and submit a few times before the driver has looked.
const SPARE_COMMANDS: usize = 64;

/// The slot of a ticket.
#[allow(clippy::cast_possible_truncation)] // 20 bits.
pub(super) fn slot_of(ticket: Ticket) -> usize {
    (ticket & NO_SLOT) as usize
}

/// A command for the driver; it runs them in their order.
pub(super) enum Command {
    /// Run this.
    Start(Ticket, Owned),
    /// Drop it: its completion is there already.
    Stop(Ticket),
}

/// The stage in the life of a queue.
#[derive(Clone)]
pub(super) enum Stage {
    /// It takes operations.
    Open,
    /// It takes no more, for this reason.
    Closed(Error),
    /// The queue was dropped.
    Abandoned,
}

#[derive(Clone, Copy)]
struct Flight {
    ticket: Ticket,
    label: Label,
}

pub(super) struct State {
    capacity: usize,
    /// Room that submissions which are under way have.
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

    /// A driver is about to run; whether none does yet.
    pub(super) fn begin_driving(&mut self) -> Result<bool> {
        if let Stage::Closed(reason) = &self.stage {
            return Err(reason.clone());
        }
        Ok(!mem::replace(&mut self.driven, true))
    }

    /// Keeps room for up to n operations.
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

    /// Gives room back that was kept.
    pub(super) fn unreserve(&mut self, room: usize) {
        self.reserved -= room;
    }

    /// An operation is on its way to the driver.
    pub(super) fn start(&mut self, label: Label, operation: Owned) -> Ticket {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let ticket = self.next_ticket(slot as u64);
        self.slots[slot] = Some(Flight { ticket, label });
        self.commands.push(Command::Start(ticket, operation));
        ticket
    }

    /// An operation was done at once.
    pub(super) fn done_at_once(&mut self, label: Label, result: Result<Outcome>) -> Ticket {
        let ticket = self.next_ticket(NO_SLOT);
        self.done.push_back(Completion { ticket, label, result });
        ticket
    }

    /// Completes an operation in flight. Returns the result if the operation is not in flight any more.
    pub(super) fn finish(&mut self, ticket: Ticket, result: Result<Outcome>) -> Option<Result<Outcome>> {
        let slot = slot_of(ticket);
        let place = self.slots.get_mut(slot);
        let Some(flight) = place.and_then(|place| place.take_if(|flight| flight.ticket == ticket)) else {
            return Some(result);
        };
        self.free.push(slot);
        self.done.push_back(Completion { ticket, label: flight.label, result });
        None
    }

    /// Completes an operation in flight without its result; whether it was in flight.
    pub(super) fn cancel(&mut self, ticket: Ticket, reason: Error) -> bool {
        let was_there = self.finish(ticket, Err(reason)).is_none();
        if was_there {
            self.commands.push(Command::Stop(ticket));
        }
        was_there
    }

    /// Completes all that is in flight; how many there were.
    pub(super) fn cancel_all(&mut self, reason: &Error) -> usize {
        let tickets: Vec<Ticket> = self.slots.iter().flatten().map(|flight| flight.ticket).collect();
        tickets.into_iter().filter(|ticket| self.cancel(*ticket, reason.clone())).count()
    }

    /// The next completion.
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

    /// Nobody looks any more: what was done and not taken, and not done, to be dropped outside the lock.
    pub(super) fn abandon(&mut self) -> (VecDeque<Completion>, Vec<Command>) {
        self.stage = Stage::Abandoned;
        self.slots.clear();
        self.free.clear();
        (mem::take(&mut self.done), mem::take(&mut self.commands))
    }

    fn next_ticket(&mut self, slot: u64) -> Ticket {
        self.counter += 1;
        self.counter << SLOT_BITS | slot
    }
}
