//! Waits for a reply on the caller's own thread.

use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::future::Either;

use super::OpFuture;
use crate::error::Result;
use crate::exec::context;

/// Returns the reply of a backend, at once if it is available.
#[inline]
pub fn answer<T>(reply: OpFuture<'_, T>) -> Result<T> {
    match reply {
        Either::Left(ready) => ready.into_inner(),
        Either::Right(on_its_way) => block(pin!(on_its_way)),
    }
}

/// Runs a future to its end. A future that is ready at once, as those of memory, costs one poll.
#[inline]
pub fn wait<F: Future>(future: F) -> F::Output {
    block(pin!(future))
}

/// Polls as a caller that may block: a future that waits for a server leads its connection from here; any other future
/// parks the thread.
fn block<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    context::blocking(|context, parker| {
        loop {
            match future.as_mut().poll(context) {
                Poll::Ready(output) => return output,
                Poll::Pending => parker.park(context::deadline()),
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
