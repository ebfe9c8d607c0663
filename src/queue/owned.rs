//! A request that owns its arguments: the caller's may be gone when it runs.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use smallvec::SmallVec;

use crate::cache::{Cache, Request};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::lease::Lease;
use crate::operation::{BatchKey, NewEntry, Outcome, Rebind};

/// A request with a copy of its arguments. It is moved several times on its way, and is a pointer for that.
pub(super) struct Owned(Box<Parts>);

struct Parts {
    /// The request without its arguments.
    shape: Request<'static>,
    /// Its arguments in their order.
    strings: Packed,
    /// The entries of a request to store many, without their strings.
    entries: Vec<EntryShape>,
    /// Its lease, or a placeholder.
    lease: Arc<Lease>,
    _permit: Permit,
}

/// An entry without its strings.
struct EntryShape {
    ttl: Option<Duration>,
    /// The places of its tags among the strings: those of the entry before it, if both have the same.
    tags: Range<usize>,
}

impl Owned {
    /// Copies a request; `None` if the queue or the process has no room for it.
    pub(super) fn copy(request: &Request<'_>, in_flight: &Arc<InFlight>) -> Option<Self> {
        let mut measure = Measure::default();
        request.rebind(&mut measure);
        let permit = in_flight.take(measure.bytes)?;
        let mut copy = Copy { strings: Packed::with_room(measure.bytes)?, count: 0, entries: Vec::new(), lease: None };
        let shape = request.rebind(&mut copy);
        let lease = copy.lease.unwrap_or_else(|| Lease::placeholder().clone());
        let Copy { strings, entries, .. } = copy;
        Some(Self(Box::new(Parts { shape, strings, entries, lease, _permit: permit })))
    }

    /// Runs the request.
    pub(super) async fn run(self, context: CallContext, cache: &Cache) -> Result<Outcome> {
        let strings: Vec<&[u8]> = self.strings().collect();
        let entries = self.entries(&strings);
        cache.run(context, &self.view(&strings, &entries)).await
    }

    /// Returns the kind under which the request is run together with others.
    pub(super) fn batch_key(&self) -> Option<BatchKey> {
        self.0.shape.batch_key()
    }

    /// Returns all strings of the arguments.
    pub(super) fn strings(&self) -> impl Iterator<Item = &[u8]> {
        self.0.strings.iter()
    }

    /// Returns the request with its strings, and with entries made of them.
    pub(super) fn view<'a>(&'a self, strings: &'a [&'a [u8]], entries: &'a [NewEntry<'a>]) -> Request<'a> {
        self.0.shape.rebind(&mut View { strings, entries, lease: &self.0.lease })
    }

    fn entries<'a>(&self, strings: &'a [&'a [u8]]) -> Vec<NewEntry<'a>> {
        let (mut entries, mut at) = (Vec::with_capacity(self.0.entries.len()), 0);
        for shape in &self.0.entries {
            let (key, value) = (string(strings, at), string(strings, at + 1));
            let tags = strings.get(shape.tags.clone()).unwrap_or_default();
            at = if shape.tags.start == at + 2 { shape.tags.end } else { at + 2 };
            entries.push(NewEntry { key, value, ttl: shape.ttl, tags });
        }
        entries
    }
}

fn string<'a>(strings: &[&'a [u8]], at: usize) -> &'a [u8] {
    strings.get(at).copied().unwrap_or_default()
}

/// The bytes that a copy takes.
#[derive(Default)]
struct Measure {
    bytes: usize,
}

/// A copy that is being made.
struct Copy {
    strings: Packed,
    count: usize,
    entries: Vec<EntryShape>,
    lease: Option<Arc<Lease>>,
}

/// The strings, the entries and the lease that a copy is given back.
struct View<'a> {
    strings: &'a [&'a [u8]],
    entries: &'a [NewEntry<'a>],
    lease: &'a Arc<Lease>,
}

impl Rebind<'static> for Measure {
    fn bytes(&mut self, bytes: &[u8]) -> &'static [u8] {
        self.bytes += LENGTH + bytes.len();
        &[]
    }

    fn list(&mut self, list: &[&[u8]]) -> &'static [&'static [u8]] {
        for bytes in list {
            self.bytes(bytes);
        }
        &[]
    }

    fn entries(&mut self, entries: &[NewEntry<'_>]) -> &'static [NewEntry<'static>] {
        let mut tags: &[&[u8]] = &[];
        for entry in entries {
            self.bytes(entry.key);
            self.bytes(entry.value);
            if !std::ptr::eq(tags, entry.tags) {
                tags = entry.tags;
                self.list(tags);
            }
        }
        &[]
    }

    fn lease(&mut self, _lease: &Arc<Lease>) -> &'static Arc<Lease> {
        Lease::placeholder()
    }
}

impl Rebind<'static> for Copy {
    fn bytes(&mut self, bytes: &[u8]) -> &'static [u8] {
        self.strings.push(bytes);
        self.count += 1;
        &[]
    }

    fn list(&mut self, list: &[&[u8]]) -> &'static [&'static [u8]] {
        for bytes in list {
            self.bytes(bytes);
        }
        &[]
    }

    fn entries(&mut self, entries: &[NewEntry<'_>]) -> &'static [NewEntry<'static>] {
        let (mut tags, mut places): (&[&[u8]], _) = (&[], 0..0);
        for entry in entries {
            self.bytes(entry.key);
            self.bytes(entry.value);
            if !std::ptr::eq(tags, entry.tags) {
                tags = entry.tags;
                let first = self.count;
                self.list(tags);
                places = first..self.count;
            }
            self.entries.push(EntryShape { ttl: entry.ttl, tags: places.clone() });
        }
        &[]
    }

    fn lease(&mut self, lease: &Arc<Lease>) -> &'static Arc<Lease> {
        self.lease = Some(lease.clone());
        Lease::placeholder()
    }
}

impl<'a> Rebind<'a> for View<'a> {
    fn bytes(&mut self, _bytes: &[u8]) -> &'a [u8] {
        let (first, rest) = self.strings.split_first().unwrap_or((&EMPTY, &[]));
        self.strings = rest;
        first
    }

    fn list(&mut self, _list: &[&[u8]]) -> &'a [&'a [u8]] {
        std::mem::take(&mut self.strings)
    }

    fn entries(&mut self, _entries: &[NewEntry<'_>]) -> &'a [NewEntry<'a>] {
        self.entries
    }

    fn lease(&mut self, _lease: &Arc<Lease>) -> &'a Arc<Lease> {
        self.lease
    }
}

/// The string that is missing: never, as a copy has all of them.
const EMPTY: &[u8] = &[];

// ---- Byte strings in at most one allocation ----

/// The bytes of the length before each string.
pub(super) const LENGTH: usize = size_of::<usize>();

/// The bytes that need no allocation of their own: a short key with its length.
const SHORT: usize = 64;

/// Byte strings in sequence, each preceded by its length.
pub(super) struct Packed(SmallVec<[u8; SHORT]>);

impl Packed {
    /// Returns room for strings that take so many bytes with their lengths, if there is memory for them.
    pub(super) fn with_room(bytes: usize) -> Option<Self> {
        let mut room = SmallVec::new();
        room.try_reserve_exact(bytes).ok()?;
        Some(Self(room))
    }

    /// Copies a string behind the others.
    pub(super) fn push(&mut self, string: &[u8]) {
        self.0.extend_from_slice(&string.len().to_ne_bytes());
        self.0.extend_from_slice(string);
    }

    /// Iterates over the strings in order.
    pub(super) fn iter(&self) -> Strings<'_> {
        Strings(&self.0)
    }
}

/// The remaining strings.
pub(super) struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<LENGTH>()?;
        let (string, rest) = rest.split_at_checked(usize::from_ne_bytes(*length))?;
        self.0 = rest;
        Some(string)
    }
}

// ---- The bytes of arguments in flight ----

/// The limit: enough for a busy program, and reached before a producer that outruns its server exhausts the memory.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The bytes of arguments that a queue holds now.
#[derive(Default)]
pub(super) struct InFlight(AtomicUsize);

/// Room for some bytes, given back when dropped.
pub(super) struct Permit {
    in_flight: Arc<InFlight>,
    bytes: usize,
}

impl InFlight {
    /// Reserves bytes. Any number is allowed if nothing else is held, so that no operation waits forever.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let fits = |held: usize| (held == 0 || held.saturating_add(bytes) <= MAX_BYTES).then(|| held + bytes);
        self.0.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Permit { in_flight: self.clone(), bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.0.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;

    #[test]
    fn entries_come_back_with_their_times_and_tags_and_shared_tags_are_kept_once() {
        let (few, many): ([&[u8]; 1], [&[u8]; 3]) = ([b"t"], [b"u", b"", b"w"]);
        let lists: [&[&[u8]]; 6] = [&few, &few, &[], &many, &many, &few];
        let ttls = [None, Some(1), Some(2), None, Some(3), Some(4)].map(|it| it.map(Duration::from_secs));
        let given: Vec<NewEntry> =
            lists.iter().zip(ttls).map(|(tags, ttl)| NewEntry { key: b"k", value: b"", ttl, tags }).collect();
        let request = Request::from(Operation::SetMany { entries: &given });
        let owned = Owned::copy(&request, &Arc::default()).unwrap();
        assert_eq!(owned.strings().count(), 12 + 1 + 3 + 1);
        let strings: Vec<&[u8]> = owned.strings().collect();
        let entries = owned.entries(&strings);
        let Request::Store(Operation::SetMany { entries }) = owned.view(&strings, &entries) else { panic!("another") };
        assert_eq!(entries.len(), 6);
        for (entry, (tags, ttl)) in entries.iter().zip(lists.iter().zip(ttls)) {
            assert_eq!((entry.key, entry.value, entry.tags, entry.ttl), (&b"k"[..], &b""[..], *tags, ttl));
        }
    }

    #[test]
    fn strings_come_back_in_their_order() {
        let strings: [&[u8]; 5] = [b"key", b"", b"\0", &[b'v'; 70_000], b""];
        for n in 0..=strings.len() {
            let some = || strings[..n].iter().copied();
            let bytes = some().map(|string| LENGTH + string.len()).sum();
            let mut packed = Packed::with_room(bytes).unwrap();
            some().for_each(|string| packed.push(string));
            assert_eq!((packed.0.len(), packed.0.capacity()), (bytes, bytes.max(SHORT)));
            assert!(packed.iter().eq(some()), "{n}");
        }
    }

    #[test]
    fn what_is_over_the_budget_waits_for_what_is_held() {
        let in_flight = Arc::<InFlight>::default();
        let first = in_flight.take(MAX_BYTES - 10).unwrap();
        let second = in_flight.take(10).unwrap();
        assert!(in_flight.take(1).is_none());
        drop(first);
        assert!(in_flight.take(MAX_BYTES).is_none() && in_flight.take(1).is_some());
        drop(second);
        let alone = in_flight.take(MAX_BYTES * 2).unwrap();
        assert!(in_flight.take(1).is_none());
        drop(alone);
        assert_eq!(in_flight.0.load(Relaxed), 0);
    }
}
