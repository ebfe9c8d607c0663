//! Waits for a reply on the caller's own thread, which is its own timer.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_util::future::Either;

use super::OpFuture;
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::exec::parker::{self, OuterAlarm};

/// Runs an operation of a backend to its end on this thread, in the context that it is called with. A reply that is
/// available at once costs nothing.
#[inline]
pub fn answer<'a, T>(operation: impl FnOnce(CallContext) -> OpFuture<'a, T>) -> Result<T> {
    finish(operation(CallContext::thread()))
}

/// Waits for the reply to an operation that was called with `CallContext::thread`.
#[inline]
pub fn finish<T>(reply: OpFuture<'_, T>) -> Result<T> {
    match reply {
        Either::Left(ready) => ready.into_inner(),
        Either::Right(on_its_way) => block(pin!(on_its_way)),
    }
}

/// Runs a future to its end on this thread, in the context that it is made with. A future that is ready at once, as
/// those of memory, costs one poll.
#[inline]
pub fn wait<F: Future>(operation: impl FnOnce(CallContext) -> F) -> F::Output {
    block(pin!(operation(CallContext::thread())))
}

/// Polls on a caller's thread: a future that waits for a server leads its connection from here; any other future parks
/// the thread.
fn block<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    // A log callback may call the library from inside a call, whose timer stays.
    let _outer = OuterAlarm::take();
    let parker = parker::of_this_thread();
    let waker = Waker::from(parker.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => parker.park(parker::take_alarm()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_on_its_way_is_waited_for() {
        let (sender, receiver) = futures_channel::oneshot::channel();
        let sending = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            sender.send(7)
        });
        assert_eq!(wait(|_| receiver), Ok(7));
        sending.join().unwrap().unwrap();
    }
}
