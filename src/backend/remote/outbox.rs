//! Messages of events that wait to be sent.
//!
//! A change takes its announcement before it begins. One that was sent together with the change is marked as sent; any
//! other, also that of a call that was cancelled, goes to the outbox when the change ends. A message may be sent twice:
//! readers know its number.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::event::Origin;
use crate::operation::Change;
use crate::util::lock;

/// The most bytes of the messages that wait.
const MAX_BYTES: usize = 8 << 20;
/// The most messages that are taken at once, and the bytes from which on there are no more.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// The messages of a cache that wait to be sent. What finds no room is a gap.
pub struct Outbox {
    /// The cache as the origin of its events.
    pub origin: Origin,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// True while messages that were taken are on their way.
    are_sent: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.are_sent
    }
}

/// The messages of a change. They go to the outbox when this is dropped.
pub struct Announcement {
    outbox: Arc<Outbox>,
    messages: Vec<Vec<u8>>,
}

impl Announcement {
    /// Returns the messages.
    pub fn messages(&self) -> &[Vec<u8>] {
        &self.messages
    }

    /// Notes that the messages were sent, or that there is nothing to tell.
    pub fn settle(mut self) {
        self.messages.clear();
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.outbox.push(std::mem::take(&mut self.messages));
    }
}

impl Outbox {
    /// Makes an empty outbox.
    pub fn new(origin: Origin) -> Arc<Self> {
        Arc::new(Self { origin, waiting: Mutex::default(), changed: Notify::new() })
    }

    /// Returns the announcement of a change that is about to be made.
    pub fn announcement(self: &Arc<Self>, change: &Change<'_>) -> Announcement {
        Announcement { outbox: Arc::clone(self), messages: self.origin.messages(change) }
    }

    fn push(&self, messages: Vec<Vec<u8>>) {
        if messages.is_empty() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let mut bytes: usize = waiting.bytes + messages.iter().map(Vec::len).sum::<usize>();
        waiting.messages.extend(messages);
        if bytes > MAX_BYTES {
            let gap = self.origin.gap();
            bytes = gap.len();
            waiting.messages = VecDeque::from([gap]);
        }
        waiting.bytes = bytes;
        drop(waiting);
        self.changed.notify_waiters();
    }

    /// Takes the next messages, and waits for them. `sent` has to be called once they are sent.
    pub async fn next(&self) -> Vec<Vec<u8>> {
        self.when(|waiting| {
            let mut bytes = 0;
            let is_part = |message: &&Vec<u8>| {
                let is_room = bytes < BATCH_BYTES;
                bytes += message.len();
                is_room
            };
            let count = waiting.messages.iter().take(BATCH).take_while(is_part).count();
            let batch: Vec<Vec<u8>> = waiting.messages.drain(..count).collect();
            waiting.bytes -= batch.iter().map(Vec::len).sum::<usize>();
            waiting.are_sent = !batch.is_empty();
            waiting.are_sent.then_some(batch)
        })
        .await
    }

    /// Notes that the messages that were taken are sent.
    pub fn sent(&self) {
        lock(&self.waiting).are_sent = false;
        self.changed.notify_waiters();
    }

    /// Returns true if no message is left to be sent.
    pub fn is_empty(&self) -> bool {
        lock(&self.waiting).is_empty()
    }

    /// Waits until no message is left to be sent.
    pub async fn emptied(&self) {
        self.when(|waiting| waiting.is_empty().then_some(())).await;
    }

    async fn when<T>(&self, mut step: impl FnMut(&mut Waiting) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look: a change from now on wakes.
            changed.as_mut().enable();
            if let Some(result) = step(&mut lock(&self.waiting)) {
                return result;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::event::decode;

    fn outbox() -> Arc<Outbox> {
        Outbox::new(Origin::new().unwrap())
    }

    fn numbers(messages: &[Vec<u8>]) -> Vec<u64> {
        messages.iter().map(|it| decode(it, 0).unwrap().number).collect()
    }

    #[test]
    fn an_announcement_waits_unless_it_was_sent() {
        let outbox = outbox();
        assert!(outbox.next().now_or_never().is_none() && outbox.emptied().now_or_never().is_some());
        let (one, two) = (outbox.announcement(&Change::Flush), outbox.announcement(&Change::Tags(&[b"a"])));
        assert_eq!((numbers(one.messages()), numbers(two.messages())), (vec![1], vec![2]));
        one.settle();
        drop(two);
        assert!(outbox.emptied().now_or_never().is_none());
        assert_eq!(numbers(&outbox.next().now_or_never().unwrap()), [2]);
        assert!(outbox.emptied().now_or_never().is_none(), "it is on its way");
        outbox.sent();
        assert!(outbox.emptied().now_or_never().is_some() && outbox.next().now_or_never().is_none());
    }

    #[test]
    fn what_finds_no_room_is_a_gap() {
        let outbox = outbox();
        let key = vec![b'k'; 60_000];
        for _ in 0..MAX_BYTES / key.len() + 2 {
            drop(outbox.announcement(&Change::Keys((&[&key[..]][..]).into())));
        }
        let batch = outbox.next().now_or_never().unwrap();
        assert_eq!(decode(&batch[0], 0).unwrap().events, [None]);
        assert!(batch.len() <= 2 && outbox.next().now_or_never().is_none());
    }
}
