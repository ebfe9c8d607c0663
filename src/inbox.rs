//! The inbox of a subscription or of a reader of events: the messages that wait to be taken, and the state of what delivers
//! them.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::event::{self, Event, EventFilter, Noted, Sequences};
use crate::message::{Message, OVERHEAD};
use crate::util::wakeup::Wakeup;
use crate::util::{allocation, lock};

/// Keeps a delivery alive: dropping it ends the delivery.
pub struct Feed(#[allow(dead_code)] Box<dyn Send + Sync>);

impl Feed {
    /// Makes a feed of what ends the delivery when it is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// The messages of a subscription that wait to be taken. What delivers them never waits: a message that finds no room is
/// counted as lost.
pub struct Inbox {
    /// The events that are wanted, if they are what is delivered.
    events: Option<EventFilter>,
    state: Mutex<State>,
    /// Woken once for each message, and for all when anything else changes.
    changed: Notify,
}

struct State {
    /// The messages with their numbers, which increase.
    messages: VecDeque<(u64, Message)>,
    next_number: u64,
    bytes: usize,
    max_bytes: usize,
    /// The number of the delivery that counts; those before it were replaced.
    delivery: u64,
    source: Source,
    was_live: bool,
    /// The messages of events that have come.
    sequences: Sequences,
    /// True while a message that was taken may come back.
    is_in_doubt: bool,
    /// True if a reader waits for the end of that.
    is_waited_for: bool,
    /// Created on demand: a program without an event loop pays no system call.
    event: Option<Wakeup>,
}

/// The state of the delivery.
enum Source {
    /// The first attempt to subscribe is not over.
    Connecting,
    /// It delivers.
    Live,
    /// It does not deliver for a reason that may pass.
    Down(Error),
    /// It will never deliver again.
    Ended(Error),
}

impl State {
    fn push(&mut self, message: Message) {
        self.bytes += message.size();
        self.messages.push_back((self.next_number, message));
        self.next_number += 1;
    }

    /// Adds a message, unless there is no room or no memory for it.
    fn add(&mut self, size: usize, message: impl FnOnce() -> Message) {
        // A message that is longer than the limit is taken if no other waits.
        let is_room = self.bytes == 0 || self.bytes.saturating_add(size) <= self.max_bytes;
        if is_room && allocation::is_there(2 * size) && self.messages.try_reserve(1).is_ok() {
            self.push(message());
        } else {
            self.lose(Some(1));
        }
    }

    /// Adds the events of a message that are wanted.
    fn add_events(&mut self, filter: &EventFilter, message: &[u8], own: u64) {
        if !filter.own && event::origin_of(message) == Some(own) {
            return;
        }
        let Some(received) = event::decode(message, own) else { return self.lose(None) };
        match self.sequences.note(received.origin, received.number) {
            Noted::Known => return,
            Noted::NewAfterLoss => self.lose(None),
            Noted::New => {}
        }
        for event in received.events {
            match event {
                Some(event) => {
                    if let Some(event) = filter.own(event) {
                        self.add_event(filter, event);
                    }
                }
                None => self.lose(None),
            }
        }
    }

    fn add_event(&mut self, filter: &EventFilter, event: Event) {
        if filter.selects(&event) {
            let message = Message::Event(Box::new(event));
            self.add(message.size(), || message);
        }
    }

    /// Notes lost messages. Neighbours are one.
    fn lose(&mut self, count: Option<u64>) {
        match self.messages.back_mut() {
            Some((_, Message::Lost(known))) => {
                *known = known.zip(count).map(|(known, more)| known.saturating_add(more));
            }
            _ => self.push(Message::Lost(count)),
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.source, Source::Ended(_))
    }

    fn is_readable(&self) -> bool {
        !self.messages.is_empty() || self.has_ended()
    }
}

impl Inbox {
    /// Makes an empty inbox, to which nothing delivers yet. `max_bytes`: the most bytes of the messages that wait.
    pub fn new(max_bytes: u64) -> Self {
        Self::with_events(max_bytes, None)
    }

    /// Makes an empty inbox for events.
    pub fn of_events(filter: EventFilter) -> Self {
        Self::with_events(filter.max_bytes(), Some(filter))
    }

    fn with_events(max_bytes: u64, events: Option<EventFilter>) -> Self {
        Self {
            events,
            state: Mutex::new(State {
                messages: VecDeque::new(),
                next_number: 0,
                bytes: 0,
                max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
                delivery: 0,
                source: Source::Connecting,
                was_live: false,
                sequences: Sequences::default(),
                is_in_doubt: false,
                is_waited_for: false,
                event: None,
            }),
            changed: Notify::new(),
        }
    }

    /// Begins a delivery, which takes the place of the one before.
    pub fn begin_delivery(self: &Arc<Self>) -> Delivery {
        let number = self.change(|state| {
            state.delivery += 1;
            state.delivery
        });
        Delivery { inbox: self.clone(), number, own: 0 }
    }

    /// Changes the state, and tells an event loop.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let was_readable = state.is_readable();
        let changed = change(&mut state);
        let is_readable = state.is_readable();
        match &state.event {
            Some(event) if is_readable && !was_readable => event.raise(),
            Some(event) if was_readable && !is_readable => event.lower(),
            _ => {}
        }
        changed
    }

    fn wake_all(&self) {
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Notes that messages may be lost here, whatever delivers.
    pub fn lose(&self) {
        self.change(|state| {
            if !state.has_ended() {
                state.lose(None);
            }
        });
        self.wake_all();
    }

    /// Adds an event of the cache itself, whatever delivers, if it is wanted.
    pub fn tell(&self, event: Event) {
        let Some(filter) = &self.events else { return };
        self.change(|state| {
            if !state.has_ended() {
                state.add_event(filter, event);
            }
        });
        self.wake_all();
    }

    /// Ends the inbox: after the messages that wait, each call gets the error. The first end counts.
    pub fn end(&self, error: Error) {
        self.change(|state| {
            if !state.has_ended() {
                state.source = Source::Ended(error);
            }
        });
        self.wake_all();
    }

    /// Waits until messages are delivered, or cannot be.
    pub async fn connected(&self) -> Result<()> {
        self.when(|state| match &state.source {
            Source::Connecting => None,
            Source::Down(error) if error.is_passing() => None,
            Source::Live => Some(Ok(())),
            Source::Down(error) | Source::Ended(error) => Some(Err(error.clone())),
        })
        .await
    }

    /// Takes the next message, and waits for it.
    pub async fn next(self: &Arc<Self>) -> Result<Taken> {
        let taken = self.when(|state| {
            if state.is_in_doubt {
                state.is_waited_for = true;
                return None;
            }
            match state.messages.pop_front() {
                Some((number, message)) => {
                    state.bytes -= message.size();
                    state.is_in_doubt = true;
                    Some(Ok((number, message)))
                }
                None => match &state.source {
                    Source::Ended(error) => Some(Err(error.clone())),
                    _ => None,
                },
            }
        });
        let (number, message) = taken.await?;
        Ok(Taken { message: Some(message), number, inbox: self.clone(), is_settled: false })
    }

    fn settle(&self) {
        let is_waited_for = self.change(|state| {
            state.is_in_doubt = false;
            std::mem::take(&mut state.is_waited_for)
        });
        // A wake-up may have come to those who wait while they could take nothing.
        if is_waited_for {
            self.wake_all();
        }
    }

    /// Puts a message back at its place.
    fn give_back(&self, number: u64, message: Message) {
        self.change(|state| {
            state.bytes += message.size();
            let place = state.messages.partition_point(|(other, _)| *other < number);
            state.messages.insert(place, (number, message));
        });
        self.wake_all();
    }

    /// Returns true after the end.
    pub fn has_ended(&self) -> bool {
        lock(&self.state).has_ended()
    }

    /// Returns the error of a delivery that is interrupted at present.
    pub fn outage(&self) -> Option<Error> {
        match &lock(&self.state).source {
            Source::Down(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Returns a file descriptor that is readable while there are messages, or after the end.
    pub fn fd(&self) -> Result<i32> {
        let mut state = lock(&self.state);
        if state.event.is_none() {
            let event = Wakeup::new("the subscription")?;
            if state.is_readable() {
                event.raise();
            }
            state.event = Some(event);
        }
        Ok(state.event.as_ref().map_or(-1, Wakeup::fd))
    }

    /// Waits until a step has a result.
    async fn when<T>(&self, mut step: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look: a change from now on wakes.
            changed.as_mut().enable();
            if let Some(result) = self.change(&mut step) {
                return result;
            }
            changed.await;
        }
    }
}

/// The right of a backend to deliver to an inbox. It has no effect any more once another delivery has begun, or the inbox
/// has ended.
pub struct Delivery {
    inbox: Arc<Inbox>,
    number: u64,
    /// The origin of events that come from the reader's own cache.
    own: u64,
}

impl Delivery {
    /// Notes the origin of the events that come from the reader's own cache.
    pub fn of(self, own: u64) -> Self {
        Self { own, ..self }
    }

    /// Returns the inbox.
    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        self.inbox.change(|state| {
            let counts = state.delivery == self.number && !state.has_ended();
            if counts {
                change(state);
            }
            counts
        })
    }

    /// Adds a message, unless there is no room or no memory for it.
    pub fn push(&self, channel: &[u8], data: &[u8]) {
        if let Some(filter) = &self.inbox.events {
            return self.push_events(filter, data);
        }
        let added = self.change(|state| {
            let message = || Message::Published { channel: channel.into(), data: data.into() };
            state.add(channel.len() + data.len() + OVERHEAD, message);
        });
        if added {
            self.inbox.changed.notify_one();
        }
    }

    fn push_events(&self, filter: &EventFilter, message: &[u8]) {
        let added = self.change(|state| state.add_events(filter, message, self.own));
        // There may be several, or none that is wanted.
        if added {
            self.inbox.wake_all();
        }
    }

    /// Notes that so many messages are lost here.
    pub fn lose(&self, count: u64) {
        // A message has any number of events.
        let count = if self.inbox.events.is_some() { None } else { Some(count) };
        if self.change(|state| state.lose(count)) {
            self.inbox.changed.notify_one();
        }
    }

    /// Notes that messages may be lost here.
    pub fn lose_unknown(&self) {
        if self.change(|state| state.lose(None)) {
            self.inbox.changed.notify_one();
        }
    }

    /// Notes that the first messages may come, but not all: if there were others before, some may be lost here.
    pub fn begins(&self) {
        let begun = self.change(|state| {
            state.source = Source::Connecting;
            if state.was_live {
                state.lose(None);
            }
        });
        if begun {
            self.inbox.wake_all();
        }
    }

    /// Notes that all messages are delivered from now on. Those that were published while they were not may be lost.
    pub fn live(&self) {
        let live = self.change(|state| {
            state.source = Source::Live;
            if std::mem::replace(&mut state.was_live, true) {
                // The gap stands for all messages that are missing so far.
                state.sequences.clear();
                state.lose(None);
            }
        });
        if live {
            self.inbox.wake_all();
        }
    }

    /// Notes that all messages are delivered from now on, also those that were published while they were not.
    pub fn resumed(&self) {
        let live = self.change(|state| {
            state.source = Source::Live;
            state.was_live = true;
        });
        if live {
            self.inbox.wake_all();
        }
    }

    /// Notes that nothing is delivered at present.
    pub fn down(&self, error: Error) {
        if self.change(|state| state.source = Source::Down(error)) {
            self.inbox.wake_all();
        }
    }

    /// Ends the inbox.
    pub fn end(&self, error: Error) {
        if self.change(|state| state.source = Source::Ended(error)) {
            self.inbox.wake_all();
        }
    }
}

/// A message on its way to the reader. It goes back to the inbox unless it arrives: the call that took it may be cancelled.
/// Until that is settled, no other is taken, so that none overtakes it.
pub struct Taken {
    message: Option<Message>,
    number: u64,
    inbox: Arc<Inbox>,
    is_settled: bool,
}

impl Taken {
    /// Notes that no cancel of the call sends it back any more.
    pub fn settle(&mut self) {
        if !std::mem::replace(&mut self.is_settled, true) {
            self.inbox.settle();
        }
    }

    /// Returns the message.
    pub fn arrive(mut self) -> Message {
        self.settle();
        self.message.take().unwrap_or(Message::Lost(None))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.inbox.give_back(self.number, message);
        }
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::error::ErrorKind;
    use crate::event::{Draft, EventKind, Origin};
    use crate::operation::Change;

    fn next(inbox: &Arc<Inbox>) -> Option<Result<Message>> {
        inbox.next().now_or_never().map(|taken| taken.map(Taken::arrive))
    }

    fn take(inbox: &Arc<Inbox>) -> Taken {
        inbox.next().now_or_never().unwrap().unwrap()
    }

    fn inbox(max_bytes: u64) -> (Arc<Inbox>, Delivery) {
        let inbox = Arc::new(Inbox::new(max_bytes));
        let delivery = inbox.begin_delivery();
        (inbox, delivery)
    }

    fn published(channel: &[u8], data: &[u8]) -> Message {
        Message::Published { channel: channel.into(), data: data.into() }
    }

    #[test]
    fn messages_come_in_order_and_the_end_comes_last() {
        let (inbox, delivery) = inbox(1000);
        assert!(next(&inbox).is_none() && inbox.connected().now_or_never().is_none());
        delivery.live();
        delivery.push(b"a", b"1");
        delivery.push(b"b", b"");
        inbox.end(Error::new(ErrorKind::Closed, "closed"));
        delivery.down(Error::new(ErrorKind::Connect, "too late"));
        delivery.push(b"c", b"too late");
        delivery.lose(1);
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"a", b"1"));
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"b", b""));
        for _ in 0..2 {
            assert_eq!(next(&inbox).unwrap().unwrap_err().kind(), ErrorKind::Closed);
        }
        assert_eq!(inbox.connected().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn what_finds_no_room_is_lost_where_it_is_missing() {
        let (inbox, delivery) = inbox(2 * (1 + OVERHEAD) as u64);
        for _ in 0..4 {
            delivery.push(b"", b"1");
        }
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"", b"1"));
        delivery.push(b"", b"2");
        delivery.push(b"", &[0; 2 * OVERHEAD]);
        let rest: Vec<Message> = std::iter::from_fn(|| next(&inbox)).map(Result::unwrap).collect();
        assert_eq!(rest, [published(b"", b"1"), Message::Lost(Some(2)), published(b"", b"2"), Message::Lost(Some(1))]);
        assert_eq!(lock(&inbox.state).bytes, 0);
        delivery.push(b"", &[7; 10 * OVERHEAD]);
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"", &[7; 10 * OVERHEAD]), "alone, it is taken");
    }

    #[test]
    fn an_outage_is_a_gap_once_it_is_over() {
        let (inbox, delivery) = inbox(1000);
        delivery.down(Error::new(ErrorKind::Connect, "loading").passing());
        assert!(inbox.connected().now_or_never().is_none(), "it is tried again");
        delivery.down(Error::new(ErrorKind::Connect, "down"));
        assert_eq!(inbox.connected().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Connect);
        delivery.begins();
        delivery.live();
        assert!(next(&inbox).is_none(), "nothing was subscribed to before");
        delivery.down(Error::new(ErrorKind::Connect, "down"));
        assert!(next(&inbox).is_none() && inbox.outage().is_some());
        delivery.begins();
        assert!(inbox.outage().is_none(), "the outage is over");
        delivery.push(b"a", b"of the first channel");
        delivery.live();
        delivery.lose(3);
        assert_eq!(next(&inbox).unwrap().unwrap(), Message::Lost(None));
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"a", b"of the first channel"));
        assert_eq!(next(&inbox).unwrap().unwrap(), Message::Lost(None));
        assert!(next(&inbox).is_none() && inbox.outage().is_none());
    }

    #[test]
    fn a_delivery_that_was_replaced_has_no_effect() {
        let (inbox, old) = inbox(1000);
        old.live();
        let new = inbox.begin_delivery();
        new.live();
        old.push(b"a", b"old");
        old.down(Error::new(ErrorKind::Connect, "old"));
        old.end(Error::new(ErrorKind::Denied, "old"));
        new.push(b"a", b"new");
        assert_eq!(next(&inbox).unwrap().unwrap(), Message::Lost(None));
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"a", b"new"));
        assert!(next(&inbox).is_none() && inbox.outage().is_none() && !inbox.has_ended());
    }

    #[test]
    fn no_message_overtakes_one_that_may_come_back() {
        let (inbox, delivery) = inbox(1000);
        delivery.push(b"a", b"1");
        delivery.push(b"a", b"2");
        let taken = take(&inbox);
        inbox.end(Error::new(ErrorKind::Closed, "closed"));
        assert!(next(&inbox).is_none());
        drop(taken);
        let mut taken = take(&inbox);
        taken.settle();
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"a", b"2"));
        assert_eq!(taken.arrive(), published(b"a", b"1"));
        assert_eq!(next(&inbox).unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn messages_that_reached_nobody_are_again_in_their_order() {
        let (inbox, delivery) = inbox(1000);
        for data in [b"1", b"2", b"3"] {
            delivery.push(b"a", data);
        }
        let taken: Vec<Taken> = (0..2)
            .map(|_| {
                let mut taken = take(&inbox);
                taken.settle();
                taken
            })
            .collect();
        drop(taken);
        let rest: Vec<Message> = std::iter::from_fn(|| next(&inbox)).map(Result::unwrap).collect();
        assert_eq!(rest, [published(b"a", b"1"), published(b"a", b"2"), published(b"a", b"3")]);
    }

    #[test]
    fn events_that_are_wanted_are_delivered_once_and_a_missing_message_is_a_gap() {
        let (origin, own) = (Origin::new().unwrap(), Origin::new().unwrap());
        let filter = EventFilter::new(&[b"a", b"b"], &[], 0).unwrap();
        let inbox = Arc::new(Inbox::of_events(filter));
        let delivery = inbox.begin_delivery().of(own.number);
        delivery.live();
        let number = |origin: &Origin, mut draft: Draft| {
            origin.number(&mut draft);
            draft.bytes().to_vec()
        };
        let sent = |tags: &[&[u8]]| number(&origin, origin.drafts(&Change::Tags(tags)).remove(0));
        let zeroth = sent(&[b"other"]);
        let (first, second, third) = (sent(&[b"a", b"other", b"b"]), sent(&[b"b"]), sent(&[b"a"]));
        for message in [&zeroth, &second, &first, &first, &number(&own, own.drafts(&Change::Flush).remove(0)), &third] {
            delivery.push(b"", message);
        }
        let names = || {
            let event = |message| match message {
                Ok(Message::Event(event)) => event.name.to_vec(),
                Ok(Message::Lost(None)) => b"gap".to_vec(),
                _ => b"?".to_vec(),
            };
            std::iter::from_fn(|| next(&inbox)).map(event).collect::<Vec<_>>()
        };
        assert_eq!(names(), [&b"b"[..], b"a", b"b", b"a"]);
        let _missing = sent(&[b"a"]);
        (0..=1024).for_each(|_| delivery.push(b"", &sent(&[b"other"])));
        assert_eq!(names(), [b"gap"]);
        delivery.push(b"", b"damaged");
        delivery.push(b"", &number(&own, own.gap()));
        inbox.tell(own.event(EventKind::Switch, b"memory"));
        assert_eq!(names(), [&b"gap"[..], b"memory"]);
        delivery.push(b"", &number(&origin, origin.gap()));
        delivery.resumed();
        delivery.live();
        delivery.push(b"", &third);
        assert_eq!(names(), [&b"gap"[..], b"a"]);
    }

    #[test]
    fn readers_that_wait_are_woken() {
        let (inbox, delivery) = inbox(1000);
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let inbox = inbox.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async { inbox.next().await.map(Taken::arrive) })
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(20));
        for _ in 0..4 {
            delivery.push(b"a", b"1");
        }
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap(), published(b"a", b"1"));
        }
    }
}
