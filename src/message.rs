//! Messages of channels, events, and the filter that selects channels.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::key::{check_channel, check_pattern};
use crate::util::glob::Glob;

/// The most channels and patterns of a filter, together.
pub const MAX_FILTER: usize = 1024;
/// The most bytes of the names of a filter, together: a server confirms each of them, and has a limit for what waits.
pub const MAX_NAMES: usize = 8 << 20;
/// The most bytes of the messages that wait in an inbox, unless the filter says otherwise.
pub const DEFAULT_MAX_BYTES: u64 = 8 << 20;
/// The bytes that a message takes beyond its channel and its data.
pub const OVERHEAD: usize = 64;
/// The bytes that an event takes beyond its name.
const EVENT_OVERHEAD: usize = 128;

/// A message of a channel, an event, or a gap.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A message that was published.
    Published {
        /// The channel, as its publisher named it.
        channel: Box<[u8]>,
        /// The bytes of the message.
        data: Box<[u8]>,
    },
    /// An event.
    Event(Box<Event>),
    /// Messages or events may have been lost here; `None`: it is not known how many.
    Lost(Option<u64>),
}

impl Message {
    /// Returns the bytes that count against the limit of an inbox.
    pub fn size(&self) -> usize {
        match self {
            Self::Published { channel, data } => channel.len() + data.len() + OVERHEAD,
            Self::Event(event) => event.name.len() + EVENT_OVERHEAD,
            Self::Lost(_) => 0,
        }
    }
}

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
        let bytes: usize = channels.iter().chain(patterns).map(|name| name.len()).sum();
        if bytes > MAX_NAMES {
            let text = format!("the names of the filter have {bytes} bytes together; the limit is 8 MiB");
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

    /// Returns true if a channel is selected.
    pub fn selects(&self, channel: &[u8]) -> bool {
        self.channels.contains(channel) || self.patterns.iter().any(|(_, glob)| glob.matches(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_selects_by_name_and_by_pattern() {
        let filter = Filter::new(&[b"a", b"a"], &[b"b*", b"b?", b"b*"], 0).unwrap();
        assert!(filter.selects(b"a") && filter.selects(b"bc") && !filter.selects(b"c"));
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
        assert_eq!(kind(&[&long[1..]; 129], &[]), Some(ErrorKind::TooLarge));
    }
}
