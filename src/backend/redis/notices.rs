//! Tells near caches of changes through a channel, for servers that do not do it themselves. Every process with a near
//! cache on such a server publishes what it changes. Others may not, and a message may be lost: each copy is kept for
//! `max_staleness` at most, and a notice only ends it earlier.
//!
//! A message has the number of its sender (8 bytes), and for each change a letter, a length (4 bytes) and so many bytes:
//! `e` and a key, `t` and the hash of a tag (8 bytes), `a` for all entries. Numbers are little-endian.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::runtime::Handle;

use super::channels::Channels;
use crate::backend::near::Copies;
use crate::entry::tag_hash;
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::inbox::Inbox;
use crate::message::{Filter, Message};
use crate::operation::Change;
use crate::util::random::random;

/// The only channel.
const CHANNEL: &[u8] = b"changes";
/// The length of a message from which on it says that all entries have changed.
const LONGEST: usize = 64 * 1024;

/// The notices of a prefix.
pub struct Notices {
    channels: Channels,
    /// Distinguishes the messages of this cache.
    number: u64,
    /// True once the server has refused to tell of changes.
    is_on: AtomicBool,
}

impl Notices {
    /// Makes the notices that channels carry.
    pub fn new(channels: Channels) -> Result<Self> {
        Ok(Self { channels, number: random()?, is_on: AtomicBool::new(false) })
    }

    /// Publishes a change that was made, if changes are published.
    pub async fn publish(&self, context: CallContext, change: &Change<'_>) {
        if self.is_on.load(Relaxed) {
            let told = self.channels.publish(context, CHANNEL, &encode(self.number, change)).await;
            if let Err(error) = told {
                tracing::debug!("a change was not told to other near caches, whose copies end by themselves: {error}");
            }
        }
    }

    /// Tells others of changes from now on, and copies of the changes of others, until this is dropped. `answer` is called
    /// once the server has answered, with an error if it has no channels either.
    pub async fn follow(&self, copies: &Copies, handle: &Handle, answer: impl FnOnce(Result<()>)) {
        let Ok(filter) = Filter::new(&[CHANNEL], &[], 0) else { return };
        let inbox = Arc::new(Inbox::new(filter.max_bytes()));
        self.is_on.store(true, Relaxed);
        let _feed = self.channels.subscribe(&Arc::new(filter), inbox.begin_delivery(), handle);
        answer(match inbox.connected().await {
            // The server may be down at the moment.
            Err(error) if error.is_outage() || error.is_passing() => Ok(()),
            connected => connected,
        });
        while let Ok(taken) = inbox.next().await {
            apply(copies, self.number, &taken.arrive());
        }
    }
}

fn encode(number: u64, change: &Change<'_>) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    match change {
        Change::Keys(keys) => keys.iter().for_each(|key| push(&mut message, b'e', key)),
        Change::Tags(tags) => tags.iter().for_each(|tag| push(&mut message, b't', &tag_hash(tag).to_le_bytes())),
        Change::Hashes(tags) => tags.iter().for_each(|tag| push(&mut message, b't', &tag.to_le_bytes())),
        Change::Patterns(_) | Change::Flush => push(&mut message, b'a', b""),
    }
    if message.len() > LONGEST {
        message.truncate(size_of::<u64>());
        push(&mut message, b'a', b"");
    }
    message
}

#[allow(clippy::cast_possible_truncation)] // A key has up to 64 KiB.
fn push(message: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    message.push(kind);
    message.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    message.extend_from_slice(bytes);
}

/// Removes the copies of what a message says has changed. A message that cannot be read may say anything.
fn apply(copies: &Copies, own: u64, message: &Message) {
    let Message::Published { data, .. } = message else { return copies.changed_all() };
    let Some((number, mut rest)) = data.split_first_chunk() else { return copies.changed_all() };
    if u64::from_le_bytes(*number) == own {
        return;
    }
    while !rest.is_empty() {
        let Some((kind, bytes, others)) = next(rest) else { return copies.changed_all() };
        match (kind, <[u8; 8]>::try_from(bytes)) {
            (b'e', _) => copies.changed_key(bytes),
            (b't', Ok(tag)) => copies.changed_tags(&[u64::from_le_bytes(tag)]),
            _ => copies.changed_all(),
        }
        rest = others;
    }
}

/// Returns the letter and the bytes of a change, and the bytes behind it.
fn next(rest: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = rest.split_first()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (bytes, others) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((*kind, bytes, others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::remote::{Keepable, Watches};
    use crate::config::NearConfig;
    use crate::value::Value;
    use std::time::Duration;

    fn copies() -> Copies {
        let second = Duration::from_secs(1);
        Copies::new(&NearConfig { max_staleness: second, ..NearConfig::default() }, false, Arc::<Watches>::default())
    }

    fn keep(copies: &Copies, key: &[u8], tag: u64) {
        let value = Value::from(&b"v"[..]);
        let read = Keepable { value, tags: vec![tag], left: Some(None), load_time: Duration::ZERO, number: None };
        copies.keep(copies.before(0), 0, key, &read);
        assert!(copies.get(key).is_some());
    }

    fn told(copies: &Copies, data: &[u8]) {
        apply(copies, 7, &Message::Published { channel: Box::default(), data: data.into() });
    }

    #[test]
    fn a_notice_removes_the_copies_of_what_it_names() {
        let copies = copies();
        let keys: &[&[u8]] = &[b"a", b""];
        for (change, is_left) in [
            (Change::Keys(keys.into()), false),
            (Change::Keys(keys[1..].into()), true),
            (Change::Hashes(&[8]), false),
            (Change::Hashes(&[9]), true),
            (Change::Tags(&[b"other"]), true),
            (Change::Patterns(&[b"x*"]), false),
            (Change::Flush, false),
        ] {
            keep(&copies, b"a", 8);
            told(&copies, &encode(7, &change));
            assert!(copies.get(b"a").is_some(), "{change:?} is its own");
            told(&copies, &encode(6, &change));
            assert_eq!(copies.get(b"a").is_some(), is_left, "{change:?}");
        }
    }

    #[test]
    fn a_notice_that_is_lost_or_damaged_removes_all_copies() {
        let copies = copies();
        let whole = encode(6, &Change::Keys((&[&b"other"[..]][..]).into()));
        for data in [
            &b""[..],
            b"1234",
            &whole[..whole.len() - 1],
            &[&whole[..], b"x"].concat(),
            &[&whole[..8], b"z\0\0\0\0"].concat(),
        ] {
            keep(&copies, b"a", 8);
            told(&copies, data);
            assert!(copies.get(b"a").is_none(), "{data:?}");
        }
        keep(&copies, b"a", 8);
        apply(&copies, 7, &Message::Lost(None));
        assert!(copies.get(b"a").is_none());
        let long = vec![b'k'; LONGEST];
        assert!(encode(6, &Change::Keys((&[&long[..]][..]).into())).len() < 100);
    }
}
