//! Messages of events that wait to be sent.
//!
//! A change takes its announcement before it begins. One that was sent together with the change is marked as sent; any
//! other, also that of a call that was cancelled, goes to the outbox when the change ends. It has another number then: the
//! first one may not have been sent, or may come later.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::event::{Draft, Origin};
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
    messages: VecDeque<Draft>,
    bytes: usize,
    /// True while messages that were taken are on their way, and their number.
    are_sent: bool,
    taken: u64,
    /// The number of announcements whose changes have not ended.
    open: usize,
    /// The number of messages that were handed over, and of those that wait no longer.
    pushed: u64,
    done: u64,
    /// True while the last attempt to send has failed.
    is_held_up: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.are_sent
    }
}

/// The messages of a change. They go to the outbox when this is dropped.
pub struct Announcement {
    outbox: Arc<Outbox>,
    messages: Vec<Draft>,
}

impl Announcement {
    /// Returns the messages with the numbers with which they are sent now.
    pub fn numbered(&mut self) -> &[Draft] {
        self.outbox.number(&mut self.messages);
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
        lock(&self.waiting).open += 1;
        Announcement { outbox: Arc::clone(self), messages: self.origin.drafts(change) }
    }

    /// Ends an announcement; its messages wait from now on.
    fn push(&self, messages: Vec<Draft>) {
        let mut waiting = lock(&self.waiting);
        waiting.open -= 1;
        waiting.pushed += messages.len() as u64;
        let mut bytes: usize = waiting.bytes + bytes_of(&messages);
        waiting.messages.extend(messages);
        if bytes > MAX_BYTES {
            let gap = self.origin.gap();
            bytes = gap.bytes().len();
            waiting.done += waiting.messages.len() as u64;
            waiting.pushed += 1;
            waiting.messages = VecDeque::from([gap]);
        }
        waiting.bytes = bytes;
        drop(waiting);
        self.changed.notify_waiters();
    }

    /// Gives messages the next numbers.
    pub fn number(&self, messages: &mut [Draft]) {
        messages.iter_mut().for_each(|message| self.origin.number(message));
    }

    /// Waits until the messages so far are sent, unless they are held up.
    pub async fn flushed(&self) {
        let wanted = lock(&self.waiting).pushed;
        self.when(|waiting| (waiting.done >= wanted || waiting.is_held_up).then_some(())).await;
    }

    /// Notes that an attempt to send messages has failed.
    pub fn held_up(&self) {
        lock(&self.waiting).is_held_up = true;
        self.changed.notify_waiters();
    }

    /// Takes the next messages, and waits for them. `sent` has to be called once they are sent.
    pub async fn next(&self) -> Vec<Draft> {
        self.when(|waiting| {
            let mut bytes = 0;
            let is_part = |message: &&Draft| {
                let is_room = bytes < BATCH_BYTES;
                bytes += message.bytes().len();
                is_room
            };
            let count = waiting.messages.iter().take(BATCH).take_while(is_part).count();
            let batch: Vec<Draft> = waiting.messages.drain(..count).collect();
            waiting.bytes -= bytes_of(&batch);
            waiting.are_sent = !batch.is_empty();
            waiting.taken = batch.len() as u64;
            waiting.are_sent.then_some(batch)
        })
        .await
    }

    /// Notes that the messages that were taken are sent.
    pub fn sent(&self) {
        let mut waiting = lock(&self.waiting);
        (waiting.are_sent, waiting.is_held_up) = (false, false);
        waiting.done += std::mem::take(&mut waiting.taken);
        drop(waiting);
        self.changed.notify_waiters();
    }

    /// Returns true if no message is left to be sent.
    pub fn is_empty(&self) -> bool {
        lock(&self.waiting).is_empty()
    }

    /// Waits until no change has still to be told of, and no message is left to be sent.
    pub async fn ended(&self) {
        self.when(|waiting| (waiting.is_empty() && waiting.open == 0).then_some(())).await;
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

fn bytes_of(messages: &[Draft]) -> usize {
    messages.iter().map(|message| message.bytes().len()).sum()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::event::decode;

    fn outbox() -> Arc<Outbox> {
        Outbox::new(Origin::new().unwrap())
    }

    fn numbers(messages: &[Draft]) -> Vec<u64> {
        messages.iter().map(|it| decode(it.bytes(), 0).unwrap().number).collect()
    }

    #[test]
    fn an_announcement_waits_unless_it_was_sent() {
        let outbox = outbox();
        assert!(outbox.next().now_or_never().is_none() && outbox.ended().now_or_never().is_some());
        let (mut one, mut two) = (outbox.announcement(&Change::Flush), outbox.announcement(&Change::Tags(&[b"a"])));
        assert_eq!((numbers(two.numbered()), numbers(one.numbered())), (vec![1], vec![2]));
        one.settle();
        drop(two);
        assert!(outbox.ended().now_or_never().is_none());
        let mut batch = outbox.next().now_or_never().unwrap();
        outbox.number(&mut batch);
        assert_eq!(numbers(&batch), [3], "the number of the first attempt may come as well");
        assert!(outbox.ended().now_or_never().is_none(), "it is on its way");
        assert!(outbox.flushed().now_or_never().is_none());
        outbox.held_up();
        assert!(outbox.flushed().now_or_never().is_some(), "it may last");
        outbox.sent();
        assert!(outbox.flushed().now_or_never().is_some());
        assert!(outbox.ended().now_or_never().is_some() && outbox.next().now_or_never().is_none());
    }

    #[test]
    fn what_finds_no_room_is_a_gap() {
        let outbox = outbox();
        let key = vec![b'k'; 60_000];
        for _ in 0..MAX_BYTES / key.len() + 2 {
            drop(outbox.announcement(&Change::Keys((&[&key[..]][..]).into())));
        }
        let batch = outbox.next().now_or_never().unwrap();
        assert_eq!(decode(batch[0].bytes(), 0).unwrap().events, [None]);
        assert!(batch.len() <= 2 && outbox.next().now_or_never().is_none());
    }
}
