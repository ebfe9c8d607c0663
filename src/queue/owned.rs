//! An operation that owns its arguments: the caller's may be gone when it runs.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::budget::{Budget, Share};
use super::packed::{Packed, packed_len};
use crate::cache::{Cache, Cursor, Operation, Outcome, SearchOptions, SetRequest};
use crate::error::Result;
use crate::ttl::Ttl;

/// An operation with its own copy of what it was given, in one allocation.
pub(super) struct Owned {
    kind: Kind,
    /// The key, pattern or query; the value; then tags and lists.
    strings: Packed,
    _share: Share,
}

/// Kinds of which many can be asked together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Get,
    Set,
    Delete,
}

enum Kind {
    Get,
    Set { ttl: Ttl },
    Delete,
    Exists,
    Expire { ttl: Ttl },
    Ttl,
    InvalidateTags { count: bool },
    InvalidatePattern,
    Flush { count: bool },
    Ping,
    Stats,
    Health,
    Metrics,
    GetMany,
    SetMany { ttl: Ttl, entries: usize },
    DeleteMany,
    NextKeys { cursor: Arc<Mutex<Cursor>>, limit: usize },
    Search { threshold: f64, limit: usize },
}

/// What an operation is made of beside its kind: two strings, and up to three lists.
struct Parts<'a> {
    key: &'a [u8],
    value: &'a [u8],
    lists: [&'a [&'a [u8]]; 3],
}

impl<'a> Parts<'a> {
    fn of(operation: &Operation<'a>) -> Self {
        let none = Self { key: &[], value: &[], lists: [&[]; 3] };
        match *operation {
            Operation::Get { key }
            | Operation::Delete { key }
            | Operation::Exists { key }
            | Operation::Expire { key, .. }
            | Operation::Ttl { key } => Self { key, ..none },
            Operation::Set(SetRequest { key, value, tags, .. }) => Self { key, value, lists: [tags, &[], &[]] },
            Operation::InvalidateTags { tags, .. } => Self { lists: [tags, &[], &[]], ..none },
            Operation::InvalidatePattern { pattern } => Self { key: pattern, ..none },
            Operation::GetMany { keys } | Operation::DeleteMany { keys } => Self { lists: [keys, &[], &[]], ..none },
            Operation::SetMany { keys, values, tags, .. } => Self { lists: [keys, values, tags], ..none },
            Operation::Search { query, options } => Self { key: query, lists: [options.tags, &[], &[]], ..none },
            Operation::Flush { .. }
            | Operation::Ping
            | Operation::Stats
            | Operation::Health
            | Operation::Metrics
            | Operation::NextKeys { .. } => none,
        }
    }

    fn strings(&self) -> impl Iterator<Item = &'a [u8]> {
        [self.key, self.value].into_iter().chain(self.lists.into_iter().flatten().copied())
    }
}

impl Kind {
    fn of(operation: &Operation<'_>) -> Self {
        match operation {
            Operation::Get { .. } => Self::Get,
            Operation::Set(request) => Self::Set { ttl: request.ttl },
            Operation::Delete { .. } => Self::Delete,
            Operation::Exists { .. } => Self::Exists,
            Operation::Expire { ttl, .. } => Self::Expire { ttl: *ttl },
            Operation::Ttl { .. } => Self::Ttl,
            Operation::InvalidateTags { count, .. } => Self::InvalidateTags { count: *count },
            Operation::InvalidatePattern { .. } => Self::InvalidatePattern,
            Operation::Flush { count } => Self::Flush { count: *count },
            Operation::Ping => Self::Ping,
            Operation::Stats => Self::Stats,
            Operation::Health => Self::Health,
            Operation::Metrics => Self::Metrics,
            Operation::GetMany { .. } => Self::GetMany,
            Operation::SetMany { ttl, keys, .. } => Self::SetMany { ttl: *ttl, entries: keys.len() },
            Operation::DeleteMany { .. } => Self::DeleteMany,
            Operation::NextKeys { cursor, limit } => Self::NextKeys { cursor: Arc::clone(cursor), limit: *limit },
            Operation::Search { options, .. } => Self::Search { threshold: options.threshold, limit: options.limit },
        }
    }
}

impl Owned {
    /// A copy of an operation; none where the budget or the process has no room for it.
    pub(super) fn copy(operation: &Operation<'_>, budget: &Arc<Budget>) -> Option<Self> {
        let parts = Parts::of(operation);
        let len = packed_len(parts.strings());
        let share = budget.take(len)?;
        Some(Self { kind: Kind::of(operation), strings: Packed::new(parts.strings(), len)?, _share: share })
    }

    /// Runs it.
    pub(super) async fn run(self, cache: &Cache) -> Result<Outcome> {
        let strings: Vec<&[u8]> = self.strings().collect();
        cache.run(self.view(&strings)).await
    }

    /// Which operations it can be asked of a store together with.
    pub(super) fn company(&self) -> Option<Company> {
        match self.kind {
            Kind::Get => Some(Company::Get),
            Kind::Set { .. } => Some(Company::Set),
            Kind::Delete => Some(Company::Delete),
            _ => None,
        }
    }

    /// All it was given.
    pub(super) fn strings(&self) -> impl Iterator<Item = &[u8]> {
        self.strings.iter()
    }

    /// The operation, with its strings.
    pub(super) fn view<'a>(&'a self, strings: &'a [&'a [u8]]) -> Operation<'a> {
        match strings {
            [key, value, list @ ..] => self.kind.with(key, value, list),
            _ => self.kind.with(&[], &[], &[]),
        }
    }
}

impl Kind {
    fn with<'a>(&'a self, key: &'a [u8], value: &'a [u8], list: &'a [&'a [u8]]) -> Operation<'a> {
        match *self {
            Self::Get => Operation::Get { key },
            Self::Set { ttl } => Operation::Set(SetRequest { key, value, ttl, tags: list }),
            Self::Delete => Operation::Delete { key },
            Self::Exists => Operation::Exists { key },
            Self::Expire { ttl } => Operation::Expire { key, ttl },
            Self::Ttl => Operation::Ttl { key },
            Self::InvalidateTags { count } => Operation::InvalidateTags { tags: list, count },
            Self::InvalidatePattern => Operation::InvalidatePattern { pattern: key },
            Self::Flush { count } => Operation::Flush { count },
            Self::Ping => Operation::Ping,
            Self::Stats => Operation::Stats,
            Self::Health => Operation::Health,
            Self::Metrics => Operation::Metrics,
            Self::GetMany => Operation::GetMany { keys: list },
            Self::SetMany { ttl, entries } => set_many(list, entries, ttl),
            Self::DeleteMany => Operation::DeleteMany { keys: list },
            Self::NextKeys { ref cursor, limit } => Operation::NextKeys { cursor, limit },
            Self::Search { threshold, limit } => {
                Operation::Search { query: key, options: SearchOptions { threshold, limit, tags: list } }
            }
        }
    }
}

/// Keys, as many values, and the tags, from the list they were packed as.
fn set_many<'a>(list: &'a [&'a [u8]], entries: usize, ttl: Ttl) -> Operation<'a> {
    let (keys, rest) = list.split_at_checked(entries).unwrap_or_default();
    let (values, tags) = rest.split_at_checked(entries).unwrap_or_default();
    Operation::SetMany { keys, values, ttl, tags }
}
