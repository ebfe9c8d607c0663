//! Waiting for an answer on the caller's own thread.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use futures_util::future::Either;

use crate::backend::Reply;
use crate::error::Result;

/// The answer of a backend: at once where it is there.
#[inline]
pub fn answer<T>(reply: Reply<'_, T>) -> Result<T> {
    match reply {
        Either::Left(ready) => ready.into_inner(),
        Either::Right(on_its_way) => wait(on_its_way),
    }
}

/// Drives a future to its end. One that is ready at once, as memory's are,
/// costs a poll; any other parks the thread until it is woken.
#[inline]
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => park(future),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cold]
fn park<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_on_its_way_is_waited_for() {
        let (sender, receiver) = futures_channel::oneshot::channel();
        let sending = thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(20));
            sender.send(7)
        });
        assert_eq!(wait(receiver), Ok(7));
        sending.join().unwrap().unwrap();
    }
}
