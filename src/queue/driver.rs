//! The task of a queue on the runtime: runs what was not done at once, and wakes the host.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use arc_swap::Guard;
use futures_util::future::BoxFuture;

use super::groups::{Groups, run_together};
use super::owned::Owned;
use super::shared::Shared;
use super::state::{Order, slot_of};
use super::tasks::Tasks;
use super::{Owner, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Outcome;

struct Driver {
    shared: Arc<Shared>,
    owner: Owner,
    alone: Tasks<BoxFuture<'static, Result<Outcome>>>,
    together: Groups<BoxFuture<'static, Vec<Result<Outcome>>>>,
    /// Kept for their allocations.
    orders: Vec<Order>,
    company: Vec<(Ticket, Owned)>,
    ended: Vec<(Ticket, Result<Outcome>)>,
}

/// The task of a queue.
pub(super) fn drive(shared: Arc<Shared>, owner: Owner) -> BoxFuture<'static, ()> {
    let (alone, together) = (Tasks::new(shared.bell.clone()), Groups::new(Tasks::new(shared.bell.clone())));
    let (orders, company, ended) = (Vec::new(), Vec::new(), Vec::new());
    let mut driver = Driver { shared, owner, alone, together, orders, company, ended };
    Box::pin(poll_fn(move |context| driver.poll(context)))
}

async fn run(owner: Owner, operation: Owned) -> Result<Outcome> {
    let cache = Guard::into_inner(owner.serving());
    operation.run(&cache).await
}

async fn run_all(owner: Owner, operations: Vec<Owned>) -> Vec<Result<Outcome>> {
    let cache = Guard::into_inner(owner.serving());
    run_together(&cache, operations).await
}

impl Driver {
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        self.shared.bell.register(context.waker());
        if let Some(wake) = self.shared.take_orders(&mut self.orders) {
            wake();
        }
        self.obey();
        let ended = &mut self.ended;
        self.alone.poll(|ticket, output| ended.push((ticket, flatten(output))));
        self.together.poll(|ticket, result| ended.push((ticket, result)));
        self.hand_over();
        if self.shared.is_finished() {
            return Poll::Ready(());
        }
        if self.alone.has_woken() || self.together.has_woken() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// What came together, is of one kind and meets one fate is asked for together.
    fn obey(&mut self) {
        let one_server = self.owner.serving().is_one_server();
        let mut kind = None;
        let mut orders = mem::take(&mut self.orders);
        for order in orders.drain(..) {
            match order {
                Order::Start(ticket, operation) => {
                    let own = operation.batch_key().filter(|_| one_server);
                    if own != kind {
                        self.start_company();
                        kind = own;
                    }
                    self.company.push((ticket, operation));
                    if kind.is_none() {
                        self.start_company();
                    }
                }
                Order::Stop(ticket) => {
                    self.start_company();
                    if !self.together.stop(ticket) {
                        self.alone.stop(slot_of(ticket), ticket);
                    }
                }
            }
        }
        self.start_company();
        self.orders = orders;
    }

    fn start_company(&mut self) {
        match self.company.pop() {
            None => {}
            Some((ticket, operation)) if self.company.is_empty() => {
                self.together.forget(slot_of(ticket));
                let future = Box::pin(run(self.owner.clone(), operation));
                self.alone.start(slot_of(ticket), ticket, future);
            }
            Some(last) => {
                self.company.push(last);
                let owner = &self.owner;
                self.together.start(&mut self.company, |operations| Box::pin(run_all(owner.clone(), operations)));
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

impl Drop for Driver {
    /// However it ends, nobody waits in vain.
    fn drop(&mut self) {
        let kind = if thread::panicking() { ErrorKind::Panic } else { ErrorKind::Cancelled };
        self.shared.driver_ended(&Error::new(kind, "the queue's thread ended before the operation"));
    }
}
