//! Waits for a reply on the caller's own thread, which is its own timer.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_util::future::Either;

use super::OpFuture;
use crate::error::Result;
use crate::exec::cancel::CancelToken;
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

/// Runs a future to its end on this thread, or until the token is cancelled.
pub fn wait_cancellable<F: Future>(token: &CancelToken, operation: impl FnOnce(CallContext) -> F) -> Result<F::Output> {
    block(pin!(token.run(operation(CallContext::thread().cancellable()))))
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
    use std::future::pending;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::error::ErrorKind;

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

    #[test]
    fn a_call_ends_when_its_token_is_cancelled_and_later_ones_at_once() {
        let token = CancelToken::default();
        assert_eq!(wait_cancellable(&token, |_| async { 7 }).unwrap(), 7);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                token.cancel();
            });
            assert_eq!(wait_cancellable(&token, |_| pending::<()>()).unwrap_err().kind(), ErrorKind::Cancelled);
        });
        assert_eq!(wait_cancellable(&token, |_| async { 7 }).unwrap_err().kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn a_pause_of_a_cancelled_call_ends_and_does_not_come_back() {
        let token = CancelToken::default();
        let long = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                token.cancel();
            });
            let paused = wait_cancellable(&token, |context| context.pause(long));
            assert_eq!(paused.unwrap_err().kind(), ErrorKind::Cancelled);
        });
    }

    #[test]
    fn a_token_is_used_by_one_call_at_a_time() {
        let token = CancelToken::default();
        let mut first = Box::pin(token.run(pending::<()>()));
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(wait_cancellable(&token, |_| async {}).unwrap_err().kind(), ErrorKind::Invalid);
        drop(first);
        wait_cancellable(&token, |_| async {}).unwrap();
    }

    #[test]
    fn a_call_within_a_cancelled_call_has_a_token_of_its_own() {
        let (outer, inner) = (CancelToken::default(), CancelToken::default());
        let ended = wait_cancellable(&outer, |context| {
            let (outer, inner) = (&outer, &inner);
            async move {
                outer.cancel();
                assert!(context.is_cancelled());
                assert!(!wait_cancellable(inner, |context| async move { context.is_cancelled() }).unwrap());
                assert!(context.is_cancelled());
            }
        });
        ended.unwrap();
    }
}
