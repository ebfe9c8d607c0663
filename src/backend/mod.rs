//! Backends: where entries live. A backend knows keys, values, deadlines and tags; the cache owns what operations mean.

#[cfg(test)]
pub mod double;
pub mod health;
pub mod memcached;
pub mod memory;
mod pattern;
pub mod redis;
pub mod remote;

use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Either, Ready, ready};
use serde_json::Value as Json;

use self::health::Health;
use self::memory::Memory;
use crate::byte_strings::ByteStrings;
use crate::config::{BackendConfig, Config};
use crate::entry::TagStamp;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// An answer that is ready (memory: no allocation, no runtime) or on its way.
pub type Reply<'a, T> = Either<Ready<Result<T>>, BoxFuture<'a, Result<T>>>;

/// An answer that is there already.
#[inline]
pub fn done<'a, T>(answer: Result<T>) -> Reply<'a, T> {
    Either::Left(ready(answer))
}

/// What a backend can do beyond the basics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // Flags are what they are.
pub struct Capabilities {
    /// It lists keys: `keys`, patterns and search work.
    pub list: bool,
    /// It knows how many entries an invalidation removed.
    pub count: bool,
    /// Other processes see the same entries.
    pub shared: bool,
    /// Its size is exact, no estimate.
    pub size: bool,
}

/// How many entries went; `None` where nobody counted, or nobody can know.
pub type Removed = Option<u64>;

/// Where a listing goes on: a part of the store (a shard, a node), and a position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Which part.
    pub part: u32,
    /// Where in it; its meaning is the backend's.
    pub offset: u64,
    /// The epoch for which both are valid; the default if a backend's positions are always valid.
    pub epoch: Epoch,
}

/// The state of the servers for which a position is valid. If it has changed, a part of the listing or all of it
/// restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch {
    /// The process that gave the offset.
    pub process: u64,
    /// The parts there were, and what each had, when this pass over them began.
    pub layout: u64,
    /// The most pages that this part can still have.
    pub pages: u32,
    /// The number of times that a part of the listing or all of it has restarted.
    pub restarts: u16,
    /// True if the previous pass saw the same layout.
    pub repeated: bool,
}

/// Which keys a listing wants. A backend may return more; the cache looks again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The bytes each key begins with.
    pub literal_prefix: &'a [u8],
    /// At least one of these tags; none: no matter which. Exact, never more.
    pub tags: &'a [&'a [u8]],
}

/// Some keys of a listing.
#[derive(Default)]
pub struct Page {
    /// The keys; a page may be empty before the end.
    pub keys: ByteStrings,
    /// Where it goes on; `None` at the end.
    pub next: Option<Position>,
}

/// What a cache holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Entries that can be read: as many as a listing returns.
    pub keys: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Both are estimates.
    pub estimated: bool,
}

/// What happened since the backend was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Entries stored.
    pub sets: u64,
    /// Keys deleted that were there.
    pub deletes: u64,
    /// Entries removed to make room.
    pub evictions: u64,
    /// Entries removed because their time was over.
    pub expirations: u64,
    /// Stored bytes that are no entry of their name: misses.
    pub decode_errors: u64,
    /// Connections made again.
    pub reconnects: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.sets += other.sets;
        self.deletes += other.deletes;
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.decode_errors += other.decode_errors;
        self.reconnects += other.reconnects;
    }
}

/// An entry to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// The user's key.
    pub key: &'a [u8],
    /// The user's value.
    pub value: &'a [u8],
    /// How long it lives; `None` for ever.
    pub ttl: Option<Duration>,
    /// The tags it replaces the old ones with.
    pub tags: &'a [&'a [u8]],
}

/// An entry as it goes from one backend to another: its tags are known by their hashes, in every backend the same.
#[derive(Clone)]
pub struct CopiedEntry {
    /// The user's key.
    pub key: Vec<u8>,
    /// The user's value.
    pub value: Value,
    /// When it ends; `None` never.
    pub ends: Option<Instant>,
    /// The hashes of its tags.
    pub tags: Vec<u64>,
}

impl CopiedEntry {
    /// Returns the remaining time to live, zero once the entry has expired; `None` if it never expires.
    pub fn ttl(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }
}

/// What a copy does about an entry that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfPresent {
    /// It stays.
    Keep,
    /// It gives way.
    Replace,
}

/// What there is to tell of a backend's fallback.
pub struct FallbackState {
    /// Why it serves now, if it does.
    pub reason: Option<String>,
    /// Answers it gave.
    pub answers: u64,
    /// All of it, for reports.
    pub report: Json,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is stored.
    Stored,
    /// An entry was there, and stayed.
    Present,
    /// A tag of it was invalidated since its version was read.
    Outdated,
    /// It was invalidated at the target while the copying went on; no backend answers this.
    Refused,
}

/// A page of a listing, or why there is none.
pub async fn page<B: Backend + ?Sized>(backend: &B, wanted: Wanted<'_>, from: Position, limit: usize) -> Result<Page> {
    let page = backend.scan(wanted, from, limit).await?;
    if !backend.capabilities().list {
        // A backend that knows why says so itself.
        return Err(Error::new(ErrorKind::Unsupported, format!("{} does not list keys here", backend.name())));
    }
    Ok(page)
}

/// The backend a configuration asks for; it may still be connecting.
pub fn open(config: &Config) -> Result<Box<dyn Backend>> {
    match &config.backend {
        BackendConfig::Memory(memory) => Ok(Box::new(Memory::new(memory))),
        BackendConfig::Redis(redis) => redis::open(config, redis),
        BackendConfig::Memcached(memcached) => memcached::open(config, memcached),
    }
}

/// A store of entries. Arguments are checked before they arrive here.
pub trait Backend: Send + Sync {
    /// The name users know it by.
    fn name(&self) -> &'static str;
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// Whether every answer is there when its function returns, on the caller's own thread.
    fn answers_at_once(&self) -> bool {
        false
    }
    /// Whether all keys are on one server: what asks for many of them waits no longer than for one.
    fn is_one_server(&self) -> bool {
        false
    }
    /// Returns how long one call may take, or `None` where no call waits for a server.
    fn call_timeout(&self) -> Option<Duration> {
        None
    }
    /// The value of a key.
    fn get<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Value>>;
    /// The values of many keys, each with its own outcome, in their order.
    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<Value>>>>;
    /// Stores an entry in place of any other under its key.
    fn set<'a>(&'a self, entry: NewEntry<'a>) -> Reply<'a, ()>;
    /// Stores many entries, each with its own outcome, in their order.
    fn set_many<'a>(&'a self, entries: &'a [NewEntry<'a>]) -> Reply<'a, Vec<Result<()>>>;
    /// Removes a key; whether it was there.
    fn delete<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool>;
    /// Removes many keys, each with its own outcome, in their order.
    fn delete_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<bool>>>;
    /// Whether a key is there; does not count as a use.
    fn exists<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool>;
    /// Gives a key another time to live; whether it was there.
    fn expire<'a>(&'a self, key: &'a [u8], ttl: Option<Duration>) -> Reply<'a, bool>;
    /// What is left to a key, if it is there; `Some(None)`: for ever.
    fn ttl<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Option<Duration>>>;
    /// Makes every entry that has one of the tags a miss.
    fn invalidate_tags<'a>(&'a self, tags: &'a [&'a [u8]], count: bool) -> Reply<'a, Removed>;
    /// Removes every entry.
    fn flush(&self, count: bool) -> Reply<'_, Removed>;
    /// Removes every key that matches one of these globs; how many there were.
    fn invalidate_patterns<'a>(&'a self, patterns: &'a [&'a [u8]]) -> Reply<'a, Removed> {
        Either::Right(Box::pin(pattern::remove_matching(self, patterns)))
    }
    /// Some keys from a position on, about `limit` of them.
    fn scan<'a>(&'a self, wanted: Wanted<'a>, from: Position, limit: usize) -> Reply<'a, Page>;
    /// Entries as they are, with what is left to them and their tags; not a use, and not counted.
    fn export<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<CopiedEntry>>>>;
    /// What versions tags have now: an entry that is imported with them is no longer served once one has changed.
    fn tag_versions<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, Vec<TagStamp>>;
    /// The versions that tags have now, `None` for a tag without one; creates none. A backend whose tags no other
    /// process can invalidate need not know: `None` for all.
    fn known_versions<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, Vec<Option<u64>>> {
        done(Ok(vec![None; tags.len()]))
    }
    /// Makes every entry that has a tag with one of these hashes a miss.
    fn invalidate_hashes<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, ()>;
    /// Stores copies, each with its own outcome. One whose tag has changed since `versions` was read is not served.
    fn import<'a>(
        &'a self,
        entries: &'a [CopiedEntry],
        versions: &'a [TagStamp],
        if_present: IfPresent,
    ) -> Reply<'a, Vec<Result<Imported>>>;
    /// What it holds.
    fn usage(&self) -> Reply<'_, Usage>;
    /// Ready when it can be used, or why it cannot; a backend without servers is ready.
    fn connected(&self) -> Reply<'_, ()> {
        done(Ok(()))
    }
    /// Whether it answers.
    fn ping(&self) -> Reply<'_, ()>;
    /// What happened so far.
    fn counters(&self) -> Counters;
    /// Requests under way to its servers.
    fn in_flight(&self) -> u64 {
        0
    }
    /// What serves in its place when it fails; `None`: nothing does.
    fn fallback(&self) -> Option<FallbackState> {
        None
    }
    /// What its servers tell of themselves, for a health report: a `servers` list of objects, each with its name as
    /// `server`, and with `error` when it does not answer.
    fn details(&self) -> Reply<'_, Json> {
        done(Ok(Json::Null))
    }
    /// How it is. A backend that knows more than whether its servers answer (that a fallback serves, say) judges itself.
    fn health(&self) -> BoxFuture<'_, Health> {
        Box::pin(async {
            match self.details().await {
                Ok(details) if health::tells_of_servers(&details) => Health::of_servers(details),
                Ok(details) => Health::of_ping(self.ping(), details).await,
                Err(error) => Health::unhealthy(&error, Json::Null),
            }
        })
    }
    /// Ends its threads and connections; what is under way has until the deadline.
    fn close(&self, deadline: Instant) -> Reply<'_, ()>;
}
