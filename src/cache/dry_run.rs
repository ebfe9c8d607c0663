//! Dry runs: the number of entries that an invalidation or a flush would remove, while nothing is removed.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::Cache;
use crate::backend::{KeyFilter, Patterns, ScanCursor, page};
use crate::cache::latency::Operation as Timed;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::runtime::yield_now;
use crate::operation::{Operation, Removed};

/// The number of keys that the backend lists at once.
const PAGE: usize = 512;

impl Cache {
    /// Returns the number of entries that a removal (an invalidation of tags or patterns, a flush) would remove;
    /// `None`: a fallback serves, which has only some of the entries.
    pub async fn would_remove(&self, context: CallContext, removal: Operation<'_>) -> Result<Removed> {
        self.check_operation(&removal)?;
        self.latencies.time(Timed::List, Box::pin(self.count_removable(context, removal))).await
    }

    async fn count_removable(&self, context: CallContext, removal: Operation<'_>) -> Result<Removed> {
        let names = self.naming.names(&removal)?;
        let names = names.list();
        let removal = self.naming.renamed(&removal, &names, &[]);
        let (tags, patterns): (&[&[u8]], _) = match removal {
            // A filter without tags selects all entries.
            Operation::InvalidateTags { tags: [], .. } => return Ok(Some(0)),
            Operation::InvalidateTags { tags, .. } => (tags, None),
            Operation::InvalidatePatterns { patterns, .. } => (&[], Some(Patterns::new(patterns))),
            Operation::Flush { .. } => (&[], None),
            _ => {
                return Err(Error::new(ErrorKind::Invalid, "only an invalidation, a clear and a flush have a dry run"));
            }
        };
        let literal_prefix = patterns.as_ref().map(Patterns::literal_prefix).unwrap_or_default();
        let is_meant = |key: &&[u8]| patterns.as_ref().is_none_or(|patterns| patterns.match_key(key));
        let filter = KeyFilter { literal_prefix: &literal_prefix, tags, hidden: false };
        let (mut counted, mut next) = (Counted::new(self.capabilities().shared), Some(ScanCursor::default()));
        let outages = self.outages();
        while let Some(from) = next {
            let page = page(context, &*self.backend, filter, from, PAGE).await?;
            page.keys.iter().filter(is_meant).try_for_each(|key| counted.add(key))?;
            next = page.next;
            yield_now().await;
        }
        let is_known = outages == self.outages() && !outages.is_some_and(|(_, lasts)| lasts);
        Ok(is_known.then_some(counted.keys))
    }

    /// Returns the number of outages of the primary so far, and whether one lasts; `None` without a fallback.
    fn outages(&self) -> Option<(u64, bool)> {
        self.backend.fallback().map(|fallback| (fallback.outages, fallback.outage.is_some()))
    }
}

/// Counts keys, each once.
struct Counted {
    keys: u64,
    /// The hashes of the keys so far, if a key may be listed again: a server that resizes its table does so.
    seen: Option<HashSet<u64>>,
    hasher: RandomState,
}

impl Counted {
    fn new(may_repeat: bool) -> Self {
        Self { keys: 0, seen: may_repeat.then(HashSet::new), hasher: RandomState::new() }
    }

    fn add(&mut self, key: &[u8]) -> Result<()> {
        let is_new = match &mut self.seen {
            None => true,
            Some(seen) => {
                seen.try_reserve(1).map_err(|_| no_memory(self.keys))?;
                seen.insert(self.hasher.hash_one(key))
            }
        };
        self.keys += u64::from(is_new);
        Ok(())
    }
}

#[cold]
fn no_memory(keys: u64) -> Error {
    let text =
        format!("there is no memory to count more than {keys} keys once each: list the keys page by page instead");
    Error::new(ErrorKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_listed_again_counts_once() {
        let mut counted = Counted::new(true);
        for key in [&b"a"[..], b"b", b"a", b"", b"b"] {
            counted.add(key).unwrap();
        }
        assert_eq!(counted.keys, 3);
    }
}
