//! `tag_index`: a sorted set of names for each tag, by deadline. It counts what an invalidation removes and frees its
//! memory at once; nothing rests on it, since a server may evict it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::commands::{Commands, Kind};
use super::names;
use super::resp::{RepliesOf, Reply};
use super::store::RedisStore;
use crate::backend::remote::{Pairing, Write};
use crate::byte_strings::ByteStrings;
use crate::error::Result;

/// How many names one command removes from an index.
const CHUNK: usize = 1000;

impl RedisStore {
    /// Notes an entry in the indexes of its tags, and trims these of what has expired.
    pub(super) fn push_index(&self, commands: &mut Commands, prefix: &str, entry: &Write) {
        if !self.tag_index {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let deadline = entry.ttl.map_or_else(|| "+inf".to_owned(), |ttl| millis(now.saturating_add(ttl)));
        for tag in &entry.tags {
            let index = names::index(prefix, *tag);
            commands.push(&index, &[b"ZADD", &index, deadline.as_bytes(), &entry.name]);
            commands.push(&index, &[b"ZREMRANGEBYSCORE", &index, b"-inf", millis(now).as_bytes()]);
        }
    }

    /// The names in the indexes of tags.
    pub(super) async fn index(&self, prefix: &str, tags: &[u64]) -> Result<ByteStrings> {
        let mut commands = self.commands(Kind::Repeatable);
        for tag in tags {
            let index = names::index(prefix, *tag);
            commands.push(&index, &[b"ZRANGE", &index, b"0", b"-1"]);
        }
        let (mut listed, mut failure) = (ByteStrings::default(), None);
        let mut each = |_, reply: Result<RepliesOf>| {
            match reply {
                Ok(names) => names.filter_map(Reply::bytes).for_each(|name| listed.push(name)),
                Err(error) => failure = Some(error),
            }
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
        failure.map_or(Ok(listed), Err)
    }

    /// Removes names from the indexes of tags.
    pub(super) async fn unindex(&self, prefix: &str, tags: &[u64], names: &[&[u8]]) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        for tag in tags {
            let index = names::index(prefix, *tag);
            for chunk in names.chunks(CHUNK) {
                let parts: Vec<&[u8]> = [&b"ZREM"[..], &index].into_iter().chain(chunk.iter().copied()).collect();
                commands.push(&index, &parts);
            }
        }
        self.all_done(&commands).await
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}
