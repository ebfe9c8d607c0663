//! Operations of one kind that came together and are asked of the store together: a future, and a command, for many.

use std::thread;

use super::Ticket;
use super::owned::Owned;
use super::state::slot_of;
use super::tasks::Tasks;
use crate::cache::{Cache, Request};
use crate::error::{Error, Result};
use crate::operation::Outcome;

/// The most that are asked for together: more would make the first wait for the last.
const MOST: usize = 64;
/// The group of what is in none.
const NONE: usize = usize::MAX;

/// The groups that are under way.
pub(super) struct Groups<F> {
    tasks: Tasks<F>,
    groups: Vec<Group>,
    free: Vec<usize>,
    /// By slot.
    group_of: Vec<usize>,
}

#[derive(Default)]
struct Group {
    tickets: Vec<Ticket>,
    /// How many of them nobody has cancelled.
    wanted: usize,
}

impl<F: Future<Output = Vec<Result<Outcome>>>> Groups<F> {
    /// `tasks` is where they run.
    pub(super) fn new(tasks: Tasks<F>) -> Self {
        Self { tasks, groups: Vec::new(), free: Vec::new(), group_of: Vec::new() }
    }

    /// Has operations of one kind run, in groups; `start` makes the future of one.
    pub(super) fn start(&mut self, works: &mut Vec<(Ticket, Owned)>, mut start: impl FnMut(Vec<Owned>) -> F) {
        while !works.is_empty() {
            let (tickets, operations) = works.drain(..works.len().min(MOST)).unzip();
            let at = self.place(tickets);
            self.tasks.start(at, at as u64, start(operations));
        }
    }

    /// An operation in this slot is in no group.
    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(group) = self.group_of.get_mut(slot) {
            *group = NONE;
        }
    }

    /// Drops a group of which nobody wants anything any more; whether the ticket was in one.
    pub(super) fn stop(&mut self, ticket: Ticket) -> bool {
        let at = self.group_of.get(slot_of(ticket)).copied().unwrap_or(NONE);
        let Some(group) = self.groups.get_mut(at) else { return false };
        group.wanted -= 1;
        if group.wanted == 0 {
            self.tasks.stop(at, at as u64);
            self.leave(at);
        }
        true
    }

    /// Polls those that were woken, and hands over what became of their operations.
    pub(super) fn poll(&mut self, mut ended: impl FnMut(Ticket, Result<Outcome>)) {
        let mut over = Vec::new();
        self.tasks.poll(|at, results| over.push((at, results)));
        for (at, results) in over {
            #[allow(clippy::cast_possible_truncation)] // It was a place.
            let tickets = self.leave(at as usize);
            results_of(results, tickets.len()).zip(tickets).for_each(|(result, ticket)| ended(ticket, result));
        }
    }

    /// Whether some were woken since.
    pub(super) fn has_woken(&self) -> bool {
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

/// A group that panicked has that for each of its operations.
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

/// Runs operations of one kind together.
pub(super) async fn run_together(cache: &Cache, operations: Vec<Owned>) -> Vec<Result<Outcome>> {
    let lists: Vec<Vec<&[u8]>> = operations.iter().map(|operation| operation.strings().collect()).collect();
    let views: Vec<Result<Request>> =
        operations.iter().zip(&lists).map(|(operation, strings)| Ok(operation.view(strings, &[]))).collect();
    cache.batch(views).await
}
