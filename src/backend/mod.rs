//! Backends: where entries live. A backend knows keys, values, deadlines and tags; the cache owns what operations mean.

mod barrier;
#[cfg(test)]
pub mod double;
pub mod health;
pub mod memcached;
pub mod memory;
pub mod near;
pub mod redis;
pub mod remote;

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use self::health::{FallbackHealth, Health};
use self::memory::Memory;
use self::near::Staleness;
use crate::config::{BackendConfig, Config};
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Origin;
use crate::exec::context::CallContext;
pub use crate::exec::{OpFuture, done, pending};
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::naming::StoredGlob;
use crate::operation::Change;
pub use crate::operation::{Addition, NewEntry, Operation, Outcome, Removed, SetCondition, Usage};
use crate::tag_names::TagNames;
use crate::util::byte_strings::ByteStrings;
use crate::value::Value;

/// The optional features of a backend.
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
    /// It compares before it writes: conditional operations and counters work.
    pub compare: bool,
    /// Its servers have commands that callers may run.
    pub command: bool,
    /// It carries messages of channels.
    pub publish: bool,
    /// It may have values in the memory of this process: `hit` works.
    pub near: bool,
    /// Events of what is removed are delivered.
    pub events: bool,
}

/// The point at which a listing continues: a part of the store (a shard, a node), and an offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanCursor {
    /// The part.
    pub part: u32,
    /// The offset in the part; its meaning is the backend's.
    pub offset: u64,
    /// The epoch for which both are valid; the default if a backend's cursors are always valid.
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

/// The keys that a listing returns.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyFilter<'a> {
    /// The bytes that each key begins with. A backend may return other keys too; the cache filters again.
    pub literal_prefix: &'a [u8],
    /// Tags of which each entry has at least one; if empty, any entry. A backend returns no others.
    pub tags: &'a [&'a [u8]],
    /// True if keys without an entry that can be read are listed too: those that a caller loads.
    pub hidden: bool,
}

/// Some keys of a listing.
#[derive(Default)]
pub struct Page {
    /// The keys; a page may be empty before the end.
    pub keys: ByteStrings,
    /// The point at which the listing continues; `None` at the end.
    pub next: Option<ScanCursor>,
}

/// A value that was read into a buffer.
pub enum Hit {
    /// It was copied. This is its length.
    Copied(usize),
    /// It was not copied.
    Shared(Value),
}

/// The number of events since a backend was opened.
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
    /// Calls that invalidated tags or patterns, cleared or flushed. The cache counts them.
    pub invalidations: u64,
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
        self.invalidations += other.invalidations;
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.decode_errors += other.decode_errors;
        self.reconnects += other.reconnects;
    }
}

/// An entry as it goes from one backend to another: its tags are known by their hashes, in every backend the same.
#[derive(Clone)]
pub struct CopiedEntry {
    /// The user's key.
    pub key: Vec<u8>,
    /// The user's value.
    pub value: Value,
    /// The time at which it was set, if it is known.
    pub created: Option<Instant>,
    /// The time of its expiry; `None` never expires.
    pub ends: Option<Instant>,
    /// The hashes of its tags.
    pub tags: Vec<u64>,
    /// The names of its tags, if it stores them.
    pub tag_names: TagNames,
    /// The time after its expiry in which it may be served as stale.
    pub stale_for: Duration,
    /// The duration of its load; zero if it is not known.
    pub load_time: Duration,
}

impl CopiedEntry {
    /// Returns the remaining time to live, zero once the entry has expired; `None` if it never expires.
    pub fn ttl(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }
}

/// The behaviour of an import if the entry exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfPresent {
    /// It stays.
    Keep,
    /// It gives way.
    Replace,
}

/// The outcome of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is stored.
    Stored,
    /// An entry was there, and stayed.
    Present,
    /// A tag of it was invalidated since its version was read.
    Outdated,
    /// It was invalidated at the target during the copy. No backend returns this.
    Refused,
}

/// The handling of a tag version that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It stays missing.
    Stays,
    /// It is created, for entries of this time to live; `None`: they never expire.
    Created(Option<Duration>),
}

impl Missing {
    /// Creates a version for entries that are imported with it. Storing them prolongs it.
    pub const CREATED_FOR_IMPORT: Self = Self::Created(Some(Duration::from_secs(60)));

    /// Returns whether the version is created.
    pub fn is_created(self) -> bool {
        self != Self::Stays
    }
}

/// Lists a page of keys; fails if the backend cannot list keys.
pub async fn page(
    context: CallContext,
    backend: &dyn Backend,
    filter: KeyFilter<'_>,
    from: ScanCursor,
    limit: usize,
) -> Result<Page> {
    let page = backend.scan(context, filter, from, limit).await?;
    if !backend.capabilities().list {
        // A backend that knows why says so itself.
        return Err(Error::new(ErrorKind::Unsupported, format!("the {} backend cannot list keys", backend.name())));
    }
    Ok(page)
}

/// Returns the error of a backend whose servers have no commands for callers.
#[cold]
pub fn no_commands(backend: &str) -> Error {
    let text =
        format!("the {backend} backend has no commands and data structures of Redis: use a redis:// server for them");
    Error::new(ErrorKind::Unsupported, text)
}

/// Returns the error of a backend that carries no messages.
#[cold]
pub fn no_channels(backend: &str) -> Error {
    let text = format!("the {backend} backend has no channels: use a redis:// server or the memory backend for them");
    Error::new(ErrorKind::Unsupported, text)
}

/// Returns the error of a backend without events.
pub fn no_events(backend: &str) -> Error {
    let text = match backend {
        "redis" => {
            "the events of this cache are off: set the option `events: true` in the section redis of every program that shares \
             the key_prefix"
        }
        _ => "Memcached has no events: name a server that carries them with the option `events: redis://...`",
    };
    Error::new(ErrorKind::Unsupported, text)
}

/// The backend a configuration asks for; it may still be connecting.
pub fn open(config: &Config) -> Result<Box<dyn Backend>> {
    match &config.backend {
        BackendConfig::Memory(memory) => Ok(Box::new(Memory::new(memory).with_tag_names(config.tag_names))),
        BackendConfig::Redis(redis) => redis::open(config, redis),
        BackendConfig::Memcached(memcached) => memcached::open(config, memcached),
    }
}

/// The constant properties of a backend, and those that a caller needs before an operation.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// The name that users know.
    pub name: &'static str,
    /// The optional features.
    pub capabilities: Capabilities,
    /// True if every operation is done when its function returns, on the caller's own thread.
    pub answers_at_once: bool,
    /// True if all keys are on one server: an operation on many keys waits no longer than an operation on one.
    pub is_one_server: bool,
    /// The time limit of one call; `None` if no call waits for a server.
    pub call_timeout: Option<Duration>,
}

/// The way that a call takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// The server of the key, as far as it is known now; `None` without servers, and for several keys or servers.
    pub server: Option<String>,
    /// True if a fallback serves.
    pub is_fallback: bool,
}

/// The state of a backend and its history since it was opened.
#[derive(Default)]
pub struct Activity {
    /// The number of events.
    pub counters: Counters,
    /// Requests that wait for a reply of a server.
    pub in_flight: u64,
    /// Open connections to servers for operations.
    pub connections: u64,
    /// The fallback that serves if the servers fail; `None` without one.
    pub fallback: Option<FallbackHealth>,
    /// The near cache; `None` without one.
    pub near: Option<NearActivity>,
}

/// The history of a near cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NearActivity {
    /// The copies that are kept.
    pub usage: Usage,
    /// Reads that were served without a request.
    pub hits: u64,
    /// Entries that were read and not kept, because they had changed meanwhile.
    pub revoked: u64,
    /// Copies that were kept.
    pub fills: u64,
    /// Copies that were served again, because the store has confirmed them.
    pub confirmed: u64,
    /// The measured staleness.
    pub staleness: Staleness,
    /// True if copies may be served now.
    pub is_fresh: bool,
    /// The way in which changes of other processes become known: `tracking`, `channel` or `time`.
    pub mode: &'static str,
}

/// A store of entries. The cache checks arguments before they arrive here.
///
/// Every method that may wait gets the context of its call: it decides whether the thread may block, and the operation
/// ends no later than its deadline. A backend that answers at once ignores it.
///
/// | methods | purpose |
/// |---|---|
/// | `info`, `instance`, `activity` | properties and counters, without waiting |
/// | `call`, `get`, `hit`, `set` | operations on entries; the last three save the cost of an `Outcome` |
/// | `scan` | listings |
/// | `export`, `import`, `tag_versions`, `invalidate_hashes` | copies of entries to another backend, which know tags by their hashes |
/// | `subscribe`, `listen`, `origin` | messages of channels, events |
/// | `connected`, `health`, `close` | the state of the servers |
pub trait Backend: Send + Sync {
    /// Returns the properties of the backend.
    fn info(&self) -> Info;
    /// Returns the number that identifies the backend in the leases that it gives.
    fn instance(&self) -> u64;
    /// Reads the value of a key: `call` of a `Get`, without the cost of an `Outcome`.
    fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>>;
    /// Returns the value of a key if a `call` of a `GetOrLease` would return a fresh value without a lease, and counts that
    /// as a hit. Otherwise returns `None` and changes nothing. The default, for backends that wait for a server, always
    /// does so.
    fn hit(&self, _key: &[u8], _refresh_ahead: bool) -> Option<Value> {
        None
    }
    /// Does what `hit` does, and copies a small value to the beginning of a buffer that has room for it: that costs less
    /// than to share the value.
    fn hit_into(&self, _key: &[u8], _buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        None
    }
    /// Notes that a change will be made, which may wait for a while: copies of what it changes are removed. The default, for
    /// backends without copies, does nothing.
    fn will_change(&self, _change: &Change<'_>) {}
    /// Stores an entry, as `set` does, if `is_replaced` is false at the moment of the change. Otherwise returns `None` and
    /// stores nothing. The default, for backends that wait for a server, always does so.
    fn set_unless(&self, _is_replaced: &AtomicBool, _entry: NewEntry<'_>) -> Option<Result<()>> {
        None
    }
    /// Stores an entry: `call` of a `Set`, without the cost of an `Outcome`.
    fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()>;
    /// Runs an operation.
    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome>;
    /// Lists about `limit` keys from a cursor on.
    fn scan<'a>(
        &'a self,
        context: CallContext,
        filter: KeyFilter<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> OpFuture<'a, Page>;
    /// Reads entries with their remaining times to live and their tags. This is no use of them, and is not counted.
    fn export<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>>;
    /// Stores copies, each with its own outcome. One whose tag has changed since `versions` was read is not served.
    fn import<'a>(
        &'a self,
        context: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>>;
    /// Returns the versions of the tags that have one, in the order of the tags. An entry that is imported with them is no
    /// longer served once one of them has changed. With `Missing::Stays` a backend whose tags no other process can
    /// invalidate may return none.
    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        tags: &'a [u64],
        missing: Missing,
    ) -> OpFuture<'a, Vec<TagVersion>>;
    /// Makes every entry that has a tag with one of these hashes a miss.
    fn invalidate_hashes<'a>(&'a self, context: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()>;
    /// Subscribes to channels until the feed is dropped. The delivery says when it begins, or why it does not.
    fn subscribe(&self, _filter: &Arc<Filter>, _delivery: Delivery) -> Result<Feed> {
        Err(no_channels(self.info().name))
    }
    /// Delivers the events of all caches on the store until the feed is dropped. The delivery says when it begins, or why it does
    /// not.
    fn listen(&self, _delivery: Delivery) -> Result<Feed> {
        Err(no_events(self.info().name))
    }
    /// Returns this cache as the origin of events; `None`: it has no events.
    fn origin(&self) -> Option<&Origin> {
        None
    }
    /// Completes when the backend can be used, or fails with the reason why it cannot.
    fn connected(&self, _context: CallContext) -> OpFuture<'_, ()> {
        done(Ok(()))
    }
    /// Returns the way that a call takes now, for one stored key or for none. The default, for backends without servers, has
    /// nothing to report.
    fn route(&self, _key: Option<&[u8]>) -> Route {
        Route::default()
    }
    /// Returns the state of the backend and its history.
    fn activity(&self) -> Activity;
    /// Returns the health. The default asks for a sign of life; a backend that knows more (each of its servers, or that a
    /// fallback serves) overrides it.
    fn health(&self, context: CallContext) -> BoxFuture<'_, Health> {
        Box::pin(Health::of_ping(self.call(context, Operation::Ping), None))
    }
    /// Ends threads and connections; operations in flight have until the deadline.
    fn close(&self, context: CallContext, deadline: Instant) -> OpFuture<'_, ()>;
}

impl dyn Backend + '_ {
    /// Returns the name that users know.
    pub fn name(&self) -> &'static str {
        self.info().name
    }

    /// Returns the optional features.
    pub fn capabilities(&self) -> Capabilities {
        self.info().capabilities
    }

    /// Returns the number of events since the backend was opened.
    pub fn counters(&self) -> Counters {
        self.activity().counters
    }

    /// Returns the number of requests that wait for a reply of a server.
    pub fn in_flight(&self) -> u64 {
        self.activity().in_flight
    }

    /// Returns the state of the fallback, if there is one.
    pub fn fallback(&self) -> Option<FallbackHealth> {
        self.activity().fallback
    }

    /// Returns the history of the near cache, if there is one.
    pub fn near(&self) -> Option<NearActivity> {
        self.activity().near
    }
}

/// Patterns of stored keys.
pub struct Patterns(Vec<StoredGlob>);

impl Patterns {
    /// Compiles globs.
    pub fn new(patterns: &[&[u8]]) -> Self {
        Self(patterns.iter().map(|pattern| StoredGlob::new(pattern)).collect())
    }

    /// Returns the bytes that every match of any of them begins with.
    pub fn literal_prefix(&self) -> Vec<u8> {
        let both = |one: Vec<u8>, other: Vec<u8>| {
            one.into_iter().zip(other).take_while(|(one, other)| one == other).map(|(byte, _)| byte).collect()
        };
        self.0.iter().map(StoredGlob::literal_prefix).reduce(both).unwrap_or_default()
    }

    /// Returns true if one of them matches a key.
    pub fn match_key(&self, key: &[u8]) -> bool {
        self.0.iter().any(|glob| glob.matches(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_for_many_patterns_begins_with_what_they_share() {
        let common = |patterns: &[&[u8]]| Patterns::new(patterns).literal_prefix();
        assert_eq!(common(&[b"user:1:*", b"user:2:?"]), b"user:");
        assert_eq!(common(&[b"user:*", b"*"]), b"");
        assert_eq!(common(&[b"key"]), b"key");
        assert_eq!(common(&[]), b"");
    }
}
