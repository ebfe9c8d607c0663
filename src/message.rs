//! Messages of channels, the filter that selects them, and the inbox of a subscription.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::key::{check_channel, check_pattern};
use crate::util::event::Event;
use crate::util::glob::Glob;
use crate::util::{allocation, lock};

/// The most channels and patterns of a filter, together.
pub const MAX_FILTER: usize = 1024;
/// The most bytes of the messages that wait in an inbox, unless the filter says otherwise.
pub const DEFAULT_MAX_BYTES: u64 = 8 << 20;
/// The bytes that a message takes beyond its channel and its data.
const OVERHEAD: usize = 64;

/// Keeps a subscription alive: dropping it ends the subscription.
pub struct Feed(#[allow(dead_code)] Box<dyn Send + Sync>);

impl Feed {
    /// Makes a feed of what ends the subscription when it is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// A message of a channel, or a gap.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A message that was published.
    Published {
        /// The channel, as its publisher named it.
        channel: Box<[u8]>,
        /// The bytes of the message.
        data: Box<[u8]>,
    },
    /// Messages may have been lost here; `None`: it is not known how many.
    Lost(Option<u64>),
}

impl Message {
    /// Returns the bytes that count against the limit of an inbox.
    fn size(&self) -> usize {
        match self {
            Self::Published { channel, data } => channel.len() + data.len() + OVERHEAD,
            Self::Lost(_) => 0,
        }
    }
}

// ---- The filter ----

/// The channels of a subscription: those of these names, and those that match a pattern.
pub struct Filter {
    channels: HashSet<Box<[u8]>>,
    patterns: Vec<(Box<[u8]>, Glob)>,
    max_bytes: u64,
}

impl Filter {
    /// Makes a filter. Fails if it selects nothing, or has a channel or a pattern that is not allowed. `max_bytes`: the most
    /// bytes of the messages that wait; 0 is the default.
    pub fn new(channels: &[&[u8]], patterns: &[&[u8]], max_bytes: u64) -> Result<Self> {
        let count = channels.len() + patterns.len();
        if count == 0 {
            return Err(Error::new(ErrorKind::Invalid, "the filter has no channel and no pattern"));
        }
        if count > MAX_FILTER {
            let text = format!("the filter has {count} channels and patterns; the limit is {MAX_FILTER}");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        channels.iter().try_for_each(|channel| check_channel(channel))?;
        patterns.iter().try_for_each(|pattern| check_pattern(pattern))?;
        if patterns.iter().any(|pattern| pattern.is_empty()) {
            return Err(Error::new(ErrorKind::Invalid, "a pattern of the filter is empty: it matches no channel"));
        }
        let mut known = HashSet::new();
        let unique = patterns.iter().filter(|pattern| known.insert(**pattern));
        Ok(Self {
            channels: channels.iter().map(|channel| Box::from(*channel)).collect(),
            patterns: unique.map(|pattern| (Box::from(*pattern), Glob::new(pattern))).collect(),
            max_bytes: if max_bytes == 0 { DEFAULT_MAX_BYTES } else { max_bytes },
        })
    }

    /// Returns the names of the channels.
    pub fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(|channel| &**channel)
    }

    /// Returns the patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.patterns.iter().map(|(pattern, _)| &**pattern)
    }

    /// Returns the most bytes of the messages that wait.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Returns true if a channel is selected by its name.
    pub fn has_channel(&self, channel: &[u8]) -> bool {
        self.channels.contains(channel)
    }

    /// Returns the number of the first pattern that matches a channel.
    pub fn first_match(&self, channel: &[u8]) -> Option<usize> {
        self.patterns.iter().position(|(_, glob)| glob.matches(channel))
    }

    /// Returns true if a channel is selected.
    pub fn selects(&self, channel: &[u8]) -> bool {
        self.has_channel(channel) || self.first_match(channel).is_some()
    }
}

// ---- The inbox ----

/// The state of the source of an inbox.
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

/// The messages of a subscription that wait to be taken. Their source never waits: what finds no room is counted as lost.
pub struct Inbox {
    state: Mutex<State>,
    /// Woken once for each message, and for all when the source ends or has been connected.
    changed: Notify,
}

struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    max_bytes: usize,
    source: Source,
    was_live: bool,
    /// Created on demand: a program without an event loop pays no system call.
    event: Option<Event>,
}

impl State {
    fn push(&mut self, message: Message) {
        self.bytes += message.size();
        self.messages.push_back(message);
    }

    /// Notes lost messages. Neighbours are one.
    fn lose(&mut self, count: Option<u64>) {
        match self.messages.back_mut() {
            Some(Message::Lost(known)) => *known = known.zip(count).map(|(known, more)| known + more),
            _ => self.push(Message::Lost(count)),
        }
    }

    fn is_readable(&self) -> bool {
        !self.messages.is_empty() || matches!(self.source, Source::Ended(_))
    }
}

/// A message on its way to the reader. It goes back to the inbox unless it arrives: the call that took it may be cancelled.
pub struct Taken {
    message: Option<Message>,
    inbox: Arc<Inbox>,
}

impl Taken {
    /// Returns the message.
    pub fn arrive(mut self) -> Message {
        self.message.take().unwrap_or(Message::Lost(None))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.inbox.give_back(message);
        }
    }
}

impl Inbox {
    /// Makes an empty inbox whose source is still connecting.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            state: Mutex::new(State {
                messages: VecDeque::new(),
                bytes: 0,
                max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
                source: Source::Connecting,
                was_live: false,
                event: None,
            }),
            changed: Notify::new(),
        }
    }

    /// Changes the state, with the consequences for those who wait.
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

    // ---- For the source ----

    /// Adds a message, unless there is no room or no memory for it.
    pub fn push(&self, channel: &[u8], data: &[u8]) {
        self.change(|state| {
            let size = channel.len() + data.len() + OVERHEAD;
            // A message that is longer than the limit is taken if no other waits.
            let is_room = state.bytes == 0 || state.bytes.saturating_add(size) <= state.max_bytes;
            if is_room && allocation::is_there(2 * size) && state.messages.try_reserve(1).is_ok() {
                state.push(Message::Published { channel: channel.into(), data: data.into() });
            } else {
                state.lose(Some(1));
            }
        });
        self.changed.notify_one();
    }

    /// Notes that messages may be lost here.
    pub fn lose(&self, count: Option<u64>) {
        self.change(|state| state.lose(count));
        self.changed.notify_one();
    }

    /// Notes that the source delivers. What was published while it did not may be lost.
    pub fn live(&self) {
        self.change(|state| {
            if matches!(state.source, Source::Ended(_)) {
                return;
            }
            state.source = Source::Live;
            if std::mem::replace(&mut state.was_live, true) {
                state.lose(None);
            }
        });
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Notes that the source does not deliver at present.
    pub fn down(&self, error: Error) {
        self.change(|state| {
            if !matches!(state.source, Source::Ended(_)) {
                state.source = Source::Down(error);
            }
        });
        self.changed.notify_waiters();
    }

    /// Ends the inbox: after the messages that wait, each call gets the error. The first end counts.
    pub fn end(&self, error: Error) {
        self.change(|state| {
            if !matches!(state.source, Source::Ended(_)) {
                state.source = Source::Ended(error);
            }
        });
        self.changed.notify_waiters();
    }

    // ---- For the reader ----

    /// Waits until the source delivers, or has failed to.
    pub async fn connected(&self) -> Result<()> {
        self.when(|state| match &state.source {
            Source::Connecting => None,
            Source::Live => Some(Ok(())),
            Source::Down(error) | Source::Ended(error) => Some(Err(error.clone())),
        })
        .await
    }

    /// Takes the next message, and waits for it.
    pub async fn next(self: &Arc<Self>) -> Result<Taken> {
        let message = self.when(|state| match state.messages.pop_front() {
            Some(message) => {
                state.bytes -= message.size();
                Some(Ok(message))
            }
            None => match &state.source {
                Source::Ended(error) => Some(Err(error.clone())),
                _ => None,
            },
        });
        Ok(Taken { message: Some(message.await?), inbox: self.clone() })
    }

    fn give_back(&self, message: Message) {
        self.change(|state| {
            state.bytes += message.size();
            state.messages.push_front(message);
        });
        self.changed.notify_one();
    }

    /// Returns true after the end.
    pub fn has_ended(&self) -> bool {
        matches!(lock(&self.state).source, Source::Ended(_))
    }

    /// Returns the error of a source that does not deliver at present.
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
            let event = Event::new("the subscription")?;
            if state.is_readable() {
                event.raise();
            }
            state.event = Some(event);
        }
        Ok(state.event.as_ref().map_or(-1, Event::fd))
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn next(inbox: &Arc<Inbox>) -> Option<Result<Message>> {
        inbox.next().now_or_never().map(|taken| taken.map(Taken::arrive))
    }

    fn inbox(max_bytes: u64) -> Arc<Inbox> {
        Arc::new(Inbox::new(max_bytes))
    }

    fn published(channel: &[u8], data: &[u8]) -> Message {
        Message::Published { channel: channel.into(), data: data.into() }
    }

    #[test]
    fn a_filter_selects_by_name_and_by_pattern() {
        let filter = Filter::new(&[b"a", b"a"], &[b"b*", b"b?", b"b*"], 0).unwrap();
        assert!(filter.selects(b"a") && filter.selects(b"bc") && !filter.selects(b"c"));
        assert_eq!((filter.first_match(b"bc"), filter.first_match(b"a")), (Some(0), None));
        assert_eq!((filter.channels().count(), filter.patterns().count()), (1, 2));
    }

    #[test]
    fn a_filter_that_is_not_allowed_is_refused() {
        let kind =
            |channels: &[&[u8]], patterns: &[&[u8]]| Filter::new(channels, patterns, 0).err().map(|it| it.kind());
        let long = vec![b'a'; 64 * 1024 + 1];
        assert_eq!(kind(&[], &[]), Some(ErrorKind::Invalid));
        assert_eq!((kind(&[b""], &[]), kind(&[], &[b""])), (Some(ErrorKind::Invalid), Some(ErrorKind::Invalid)));
        assert_eq!(kind(&[&long], &[]), Some(ErrorKind::TooLarge));
        assert_eq!(kind(&[], &[&long]), Some(ErrorKind::TooLarge));
        assert_eq!(kind(&vec![&b"a"[..]; MAX_FILTER], &[b"*"]), Some(ErrorKind::TooLarge));
    }

    #[test]
    fn messages_come_in_order_and_the_end_comes_last() {
        let inbox = inbox(1000);
        assert!(next(&inbox).is_none() && inbox.connected().now_or_never().is_none());
        inbox.live();
        inbox.push(b"a", b"1");
        inbox.push(b"b", b"");
        inbox.end(Error::new(ErrorKind::Closed, "closed"));
        inbox.down(Error::new(ErrorKind::Connect, "too late"));
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"a", b"1"));
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"b", b""));
        assert_eq!(next(&inbox).unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(inbox.connected().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn what_finds_no_room_is_lost_where_it_is_missing() {
        let inbox = inbox(2 * (1 + OVERHEAD) as u64);
        for _ in 0..4 {
            inbox.push(b"", b"1");
        }
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"", b"1"));
        inbox.push(b"", b"2");
        inbox.push(b"", &[0; 2 * OVERHEAD]);
        let rest: Vec<Message> = std::iter::from_fn(|| next(&inbox)).map(Result::unwrap).collect();
        assert_eq!(rest, [published(b"", b"1"), Message::Lost(Some(2)), published(b"", b"2"), Message::Lost(Some(1))]);
        assert_eq!(lock(&inbox.state).bytes, 0);
        inbox.push(b"", &[7; 10 * OVERHEAD]);
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"", &[7; 10 * OVERHEAD]), "alone, it is taken");
    }

    #[test]
    fn an_outage_is_a_gap_once_it_is_over() {
        let inbox = inbox(1000);
        inbox.down(Error::new(ErrorKind::Connect, "down"));
        assert_eq!(inbox.connected().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Connect);
        inbox.live();
        assert!(next(&inbox).is_none(), "nothing was subscribed to before");
        inbox.down(Error::new(ErrorKind::Connect, "down"));
        assert!(next(&inbox).is_none() && inbox.outage().is_some());
        inbox.live();
        inbox.lose(Some(3));
        assert_eq!(next(&inbox).unwrap().unwrap(), Message::Lost(None));
        assert!(next(&inbox).is_none() && inbox.outage().is_none());
    }

    #[test]
    fn a_message_that_reached_nobody_is_the_next_one() {
        let inbox = inbox(1000);
        inbox.push(b"a", b"1");
        inbox.push(b"a", b"2");
        drop(inbox.next().now_or_never().unwrap().unwrap());
        assert_eq!(next(&inbox).unwrap().unwrap(), published(b"a", b"1"));
    }

    #[test]
    fn a_reader_that_waits_is_woken() {
        let inbox = inbox(1000);
        let reader = {
            let inbox = inbox.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async { inbox.next().await.map(Taken::arrive) })
            })
        };
        std::thread::sleep(std::time::Duration::from_millis(20));
        inbox.push(b"a", b"1");
        assert_eq!(reader.join().unwrap().unwrap(), published(b"a", b"1"));
    }
}
