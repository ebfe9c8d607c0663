//! `tag_index`: a sorted set of names for each tag. It counts what an invalidation removes and frees its memory at
//! once; no read rests on it, since a server may evict it.
//!
//! The score of a name is a mark: the second in which the entry was to end when it was noted, and a number that no
//! other note has. The second only says where to look for what is over; whether an entry is there is asked, since
//! clocks differ and an entry's time may be changed. A name that is gone is removed by its mark, so that a note that
//! another process makes meanwhile stays.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use once_cell::race::OnceBox;

use super::commands::{Commands, Kind};
use super::lasting::Prolonging;
use super::names;
use super::resp::{RespReader, RespValue};
use super::run::Received;
use super::store::RedisStore;
use crate::backend::remote::{EncodedEntry, Indexed, Lasting, Store};
use crate::error::{Error, Result};
use crate::exec::context::CallContext;
use crate::util::random;

/// The number of names that one command removes from an index.
const CHUNK: usize = 1000;
/// The number of names that seem to be expired from which on an index is checked.
const OVERDUE: usize = 16;
/// The number of names in such a check.
const LOOK: usize = 64;
/// The bits of a mark that tell notes of the same second apart; with those of the second a double holds them all.
const NUMBER_BITS: u32 = 21;

/// The commands that accompany entries in the same write: notes in the indexes of their tags, and expiries of tag
/// versions.
pub(super) struct Accompanying<'a> {
    /// The entry of each note.
    notes: Vec<usize>,
    /// The tags whose index may be worth a look.
    tags: Vec<u64>,
    now: u64,
    prolonging: Prolonging<'a>,
}

impl RedisStore {
    /// Adds what goes with entries; the versions that are to last are those of the first.
    pub(super) fn push_accompanying<'a>(
        &self,
        commands: &mut Commands,
        prefix: &str,
        entries: &'a [EncodedEntry],
    ) -> Accompanying<'a> {
        let (now, mut notes, mut tags) = (now(), Vec::new(), Vec::new());
        let indexed = entries.iter().enumerate().filter(|_| self.tag_index);
        for (number, entry) in indexed {
            for tag in entry.tags.iter().filter(|tag| entry.generation != Some(**tag)) {
                push_note(commands, prefix, *tag, &entry.name, mark(now, entry.ttl));
                notes.push(number);
                tags.push(*tag);
            }
        }
        tags.sort_unstable();
        tags.dedup();
        let (first, next) = ((OVERDUE - 1).to_string(), OVERDUE - 1);
        for tag in &tags {
            let index = names::index(prefix, *tag);
            commands.push(&index, &[b"ZRANGE", &index, first.as_bytes(), next.to_string().as_bytes(), b"WITHSCORES"]);
        }
        let lasting: &[Lasting] = entries.first().map_or(&[], |entry| &entry.lasting);
        let prolonging = self.push_lasting(commands, prefix, lasting);
        Accompanying { notes, tags, now, prolonging }
    }

    /// Reads the replies to what went with entries, and ends it: why some of them are not stored as they should be.
    pub(super) async fn finish_accompanying(
        &self,
        context: CallContext,
        prefix: &str,
        entries: &[EncodedEntry],
        accompanying: Accompanying<'_>,
        mut received: impl Iterator<Item = Result<Received>>,
    ) -> Vec<Option<Error>> {
        let notes = accompanying.notes.into_iter().zip(received.by_ref());
        // Something else under the name of an index is no error: a count is not known, and nothing else depends on it.
        let refused: Vec<(usize, Error)> = notes.filter_map(|(entry, it)| Some((entry, it.err()?))).collect();
        let looks = accompanying.tags.into_iter().zip(received.by_ref());
        let overdue: Vec<u64> =
            looks.filter(|(_, look)| is_overdue(look, accompanying.now)).map(|(tag, _)| tag).collect();
        let unprolonged = self.finish_lasting(context, prefix, accompanying.prolonging, received).await;
        let mut failures: Vec<Option<Error>> = entries.iter().map(|entry| unprolonged.of(&entry.tags)).collect();
        self.remove_unlisted(context, entries, &refused).await;
        for (number, error) in refused {
            failures[number] = Some(error);
        }
        for tag in overdue {
            if let Err(error) = self.trim(context, prefix, tag, accompanying.now).await {
                tracing::debug!("cannot trim the index of a tag: {error}");
            }
        }
        failures
    }

    /// Removes entries that are in no index: they would make a count wrong.
    async fn remove_unlisted(&self, context: CallContext, entries: &[EncodedEntry], refused: &[(usize, Error)]) {
        if refused.is_empty() {
            return;
        }
        let mut commands = self.commands(Kind::Repeatable);
        for (number, _) in refused {
            let name = &entries[*number].name;
            commands.push(name, &[b"UNLINK", name]);
        }
        drop(self.expect_ok(context, &commands).await);
    }

    /// Removes from an index what is over, and gives what is there in spite of its mark a new one.
    async fn trim(&self, context: CallContext, prefix: &str, tag: u64, now: u64) -> Result<()> {
        let index = names::index(prefix, tag);
        let mut notes = self.notes(context, &index, LOOK).await?.unwrap_or_default();
        notes.retain(|(_, mark)| *mark < first_mark(now));
        let names: Vec<&[u8]> = notes.iter().map(|(name, _)| name.as_slice()).collect();
        let left = self.remaining(context, &names).await;
        let mut commands = self.commands(Kind::Repeatable);
        for ((name, mark), left) in notes.iter().zip(left) {
            let shared = notes.iter().filter(|(_, other)| other == mark).count() > 1;
            match left? {
                None if shared => {}
                None => push_removal(&mut commands, &index, *mark),
                Some(left) => {
                    let mark = self::mark(now, left).to_string();
                    commands.push(&index, &[b"ZADD", &index, b"XX", mark.as_bytes(), name]);
                }
            }
        }
        self.expect_ok(context, &commands).await
    }

    /// The names of an index, the first of them or all, with their marks; `None` where something else has its name.
    async fn notes(&self, context: CallContext, index: &[u8], most: usize) -> Result<Option<Vec<(Vec<u8>, u64)>>> {
        let mut commands = self.commands(Kind::Repeatable);
        let last = if most == usize::MAX { "-1".to_owned() } else { most.saturating_sub(1).to_string() };
        commands.push(index, &[b"ZRANGE", index, b"0", last.as_bytes(), b"WITHSCORES"]);
        let received = self.run(context, &commands).await.into_iter().next();
        received.map_or(Ok(None), |received| received.map(|received| noted(&received)))
    }

    /// The names in the indexes of tags, and whether these are indexes.
    pub(super) async fn indexed(&self, context: CallContext, prefix: &str, tags: &[u64]) -> Result<Indexed> {
        let mut indexed = Indexed { notes: Vec::new(), is_whole: true };
        for tag in tags {
            match self.notes(context, &names::index(prefix, *tag), usize::MAX).await? {
                Some(notes) => indexed.notes.extend(notes.into_iter().map(|(name, mark)| (*tag, name, mark))),
                None => indexed.is_whole = false,
            }
        }
        Ok(indexed)
    }

    /// Removes from indexes names whose entries are about to be removed, and the notes of others as they were read.
    pub(super) async fn forget(
        &self,
        context: CallContext,
        prefix: &str,
        indexed: &Indexed,
        removed: &[&[u8]],
    ) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        let mut rest = &indexed.notes[..];
        while let Some((tag, ..)) = rest.first() {
            let (of_tag, others) = rest.split_at(rest.iter().take_while(|(other, ..)| other == tag).count());
            let index = names::index(prefix, *tag);
            let is_removed = |name: &[u8]| removed.binary_search(&name).is_ok();
            let names: Vec<&[u8]> =
                of_tag.iter().map(|(_, name, _)| name.as_slice()).filter(|it| is_removed(it)).collect();
            for chunk in names.chunks(CHUNK) {
                let parts: Vec<&[u8]> = [&b"ZREM"[..], &index].into_iter().chain(chunk.iter().copied()).collect();
                commands.push(&index, &parts);
            }
            let stale = of_tag.iter().filter(|(_, name, _)| !is_removed(name));
            stale.for_each(|(.., mark)| push_removal(&mut commands, &index, *mark));
            rest = others;
        }
        self.expect_ok(context, &commands).await
    }
}

fn push_note(commands: &mut Commands, prefix: &str, tag: u64, name: &[u8], mark: u64) {
    let index = names::index(prefix, tag);
    commands.push(&index, &[b"ZADD", &index, mark.to_string().as_bytes(), name]);
}

fn push_removal(commands: &mut Commands, index: &[u8], mark: u64) {
    let mark = mark.to_string();
    commands.push(index, &[b"ZREMRANGEBYSCORE", index, mark.as_bytes(), mark.as_bytes()]);
}

/// Returns whether a look at an index found that many of its names seem to be expired.
fn is_overdue(look: &Result<Received>, now: u64) -> bool {
    let Ok(Received::Array(elements)) = look else { return false };
    let mark = RespReader(elements).filter_map(RespValue::bytes).nth(1).and_then(parse);
    mark.is_some_and(|mark| mark < first_mark(now))
}

/// Names and marks of a reply; `None` if the index holds another type.
fn noted(received: &Received) -> Option<Vec<(Vec<u8>, u64)>> {
    let Received::Array(elements) = received else { return None };
    let mut elements = RespReader(elements);
    let Some(RespValue::Array(count)) = elements.next() else { return None };
    let parts: Vec<&[u8]> = elements.map(RespValue::bytes).collect::<Option<_>>()?;
    if parts.len() as u64 != count || count % 2 == 1 {
        return None;
    }
    parts.chunks_exact(2).map(|pair| Some((pair[0].to_vec(), parse(pair[1])?))).collect()
}

/// The mark of an entry that is stored now: no other note has it.
fn mark(now: u64, ttl: Option<Duration>) -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let never = u64::from(u32::MAX);
    let second = ttl.map_or(never, |ttl| now.saturating_add(ttl.as_secs()).saturating_add(1)).min(never);
    let number = NUMBER.fetch_add(1, Relaxed).wrapping_add(process_number());
    (second << NUMBER_BITS) | (number & ((1 << NUMBER_BITS) - 1))
}

/// The lowest mark of a second.
fn first_mark(second: u64) -> u64 {
    second << NUMBER_BITS
}

/// Returns the number at which this process begins to count.
fn process_number() -> u64 {
    static FIRST: OnceBox<u64> = OnceBox::new();
    *FIRST.get_or_init(|| Box::new(random::cheap()))
}

/// A mark as a server writes it: a whole number, or one with an exponent.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Scores of others are negative or fractions.
fn parse(score: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(score).ok()?;
    text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|score| score as u64))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn marks_differ_and_are_whole_in_a_double() {
        let ttls = [Some(Duration::ZERO), Some(Duration::from_secs(60)), Some(Duration::from_secs(1 << 40)), None];
        let marks: Vec<u64> =
            ttls.into_iter().flat_map(|ttl| [mark(1_800_000_000, ttl), mark(1_800_000_000, ttl)]).collect();
        for (at, mark) in marks.iter().enumerate() {
            assert_eq!(*mark as f64 as u64, *mark);
            assert_eq!(parse((*mark as f64).to_string().as_bytes()), Some(*mark));
            assert!(!marks[..at].contains(mark));
        }
        assert!(marks[0] >= first_mark(1_800_000_001) && marks[0] < first_mark(1_800_000_002));
        assert_eq!(parse(b"1.7e+12"), Some(1_700_000_000_000));
        assert_eq!(parse(b"+inf"), Some(u64::MAX));
    }
}
