//! Waiting for an answer on the caller's own thread.

use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::future::Either;

use crate::backend::OpFuture;
use crate::caller;
use crate::error::Result;

/// The answer of a backend: at once where it is there.
#[inline]
pub fn answer<T>(reply: OpFuture<'_, T>) -> Result<T> {
    match reply {
        Either::Left(ready) => ready.into_inner(),
        Either::Right(on_its_way) => block(pin!(on_its_way)),
    }
}

/// Drives a future to its end. One that is ready at once, as memory's are,
/// costs a poll.
#[inline]
pub fn wait<F: Future>(future: F) -> F::Output {
    block(pin!(future))
}

/// Polls as a caller that may be blocked: what waits for a server leads its
/// connection from here; what waits for anything else parks the thread.
fn block<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    caller::blocking(|context, parker| {
        loop {
            match future.as_mut().poll(context) {
                Poll::Ready(output) => return output,
                Poll::Pending => parker.park(caller::deadline()),
            }
        }
    })
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
        assert_eq!(wait(receiver), Ok(7));
        sending.join().unwrap().unwrap();
    }
}
