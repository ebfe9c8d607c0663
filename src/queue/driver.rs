//! The task of a queue on the runtime: runs what was not done at once, and wakes the host.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use arc_swap::Guard;
use futures_util::future::BoxFuture;

use super::owned::Owned;
use super::shared::Shared;
use super::state::{Order, slot_of};
use super::tasks::Tasks;
use super::{Owner, Ticket};
use crate::cache::Outcome;
use crate::error::{Error, ErrorKind, Result};

struct Driver<F: Future<Output = Result<Outcome>>, Start: FnMut(Owned) -> F> {
    shared: Arc<Shared>,
    tasks: Tasks<F>,
    start: Start,
    /// Kept for their allocations.
    orders: Vec<Order>,
    ended: Vec<(Ticket, Result<Outcome>)>,
}

/// The task of a queue.
pub(super) fn drive(shared: Arc<Shared>, owner: Owner) -> BoxFuture<'static, ()> {
    let tasks = Tasks::new(shared.bell.clone());
    let start = move |operation| run(owner.clone(), operation);
    let mut driver = Driver { shared, tasks, start, orders: Vec::new(), ended: Vec::new() };
    Box::pin(poll_fn(move |context| driver.poll(context)))
}

async fn run(owner: Owner, operation: Owned) -> Result<Outcome> {
    let cache = Guard::into_inner(owner.serving());
    operation.run(&cache).await
}

impl<F: Future<Output = Result<Outcome>>, Start: FnMut(Owned) -> F> Driver<F, Start> {
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        self.shared.bell.register(context.waker());
        if let Some(wake) = self.shared.take_orders(&mut self.orders) {
            wake();
        }
        self.obey();
        self.tasks.poll(|ticket, output| self.ended.push((ticket, flatten(output))));
        self.hand_over();
        if self.shared.is_finished() {
            return Poll::Ready(());
        }
        if self.tasks.has_woken() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn obey(&mut self) {
        for order in self.orders.drain(..) {
            match order {
                Order::Start(ticket, operation) => {
                    self.tasks.start(slot_of(ticket), ticket, (self.start)(operation));
                }
                Order::Stop(ticket) => self.tasks.stop(slot_of(ticket), ticket),
            }
        }
    }

    /// A result whose operation was cancelled meanwhile is dropped here, outside the lock.
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

impl<F: Future<Output = Result<Outcome>>, Start: FnMut(Owned) -> F> Drop for Driver<F, Start> {
    /// However it ends, nobody waits in vain.
    fn drop(&mut self) {
        let kind = if thread::panicking() { ErrorKind::Panic } else { ErrorKind::Cancelled };
        self.shared.driver_ended(&Error::new(kind, "the queue's thread ended before the operation"));
    }
}
