//! Requests that own their arguments: the caller's may be gone when they run.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use smallvec::SmallVec;

use crate::cache::Request;
use crate::lease::Lease;
use crate::operation::{BatchKey, NewEntry, Rebind};

/// A request, or several of one kind, with a copy of their arguments. They are moved several times on their way, and are
/// a pointer for that.
pub(super) struct Owned(Box<Parts>);

struct Parts {
    shapes: SmallVec<[Shape; 1]>,
    /// The arguments of all requests in their order.
    strings: Packed,
    /// The entries of a request to store many, without their strings.
    entries: Vec<EntryShape>,
    permit: Permit,
}

/// A request without its arguments.
struct Shape {
    request: Request<'static>,
    /// The number of its strings.
    strings: usize,
    lease: Option<Arc<Lease>>,
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
        let (shapes, strings, entries) = Default::default();
        let mut owned = Self(Box::new(Parts { shapes, strings, entries, permit: in_flight.permit() }));
        owned.add(request).then_some(owned)
    }

    /// Copies another request, of the same kind. Returns false if the queue or the process has no room for it.
    pub(super) fn add(&mut self, request: &Request<'_>) -> bool {
        let Parts { shapes, strings, entries, permit } = &mut *self.0;
        let mut measure = Measure::default();
        request.rebind(&mut measure);
        if !strings.reserve(measure.bytes) || !permit.add(measure.bytes) {
            return false;
        }
        let mut copy = Copy { strings, count: 0, entries, lease: None };
        let request = request.rebind(&mut copy);
        let Copy { count, lease, .. } = copy;
        shapes.push(Shape { request, strings: count, lease });
        true
    }

    /// Returns true if the arguments are encoded and sent in less than a moment.
    pub(super) fn is_short(&self) -> bool {
        self.0.strings.0.len() <= SENT_AT_ONCE
    }

    /// Returns the number of requests.
    pub(super) fn len(&self) -> usize {
        self.0.shapes.len()
    }

    /// Returns the kind under which they are run together with others.
    pub(super) fn batch_key(&self) -> Option<BatchKey> {
        self.0.shapes.first().and_then(|shape| shape.request.batch_key())
    }

    /// Returns all strings of the arguments.
    pub(super) fn strings(&self) -> impl Iterator<Item = &[u8]> {
        self.0.strings.iter()
    }

    /// Returns the requests with their strings, and with entries made of them.
    pub(super) fn views<'a>(
        &'a self,
        mut strings: &'a [&'a [u8]],
        entries: &'a [NewEntry<'a>],
    ) -> impl Iterator<Item = Request<'a>> {
        self.0.shapes.iter().map(move |shape| {
            let (own, rest) = strings.split_at_checked(shape.strings).unwrap_or_default();
            strings = rest;
            let lease = shape.lease.as_ref().unwrap_or_else(|| Lease::placeholder());
            shape.request.rebind(&mut View { strings: own, entries, lease })
        })
    }

    /// Returns the entries of a request to store many, made of its strings.
    pub(super) fn entries<'a>(&self, strings: &'a [&'a [u8]]) -> Vec<NewEntry<'a>> {
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
struct Copy<'c> {
    strings: &'c mut Packed,
    count: usize,
    entries: &'c mut Vec<EntryShape>,
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

impl Rebind<'static> for Copy<'_> {
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

/// The most bytes of arguments that the thread of a submission sends.
const SENT_AT_ONCE: usize = 64 * 1024;

/// The bytes that need no allocation of their own: a short key with its length.
const SHORT: usize = 64;

/// Byte strings in sequence, each preceded by its length.
#[derive(Default)]
pub(super) struct Packed(SmallVec<[u8; SHORT]>);

impl Packed {
    /// Makes room for more strings, which take so many bytes with their lengths. Returns false if there is no memory for
    /// them.
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let reserved = if self.0.is_empty() { self.0.try_reserve_exact(bytes) } else { self.0.try_reserve(bytes) };
        reserved.is_ok()
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
    /// Returns a permit without room.
    pub(super) fn permit(self: &Arc<Self>) -> Permit {
        Permit { in_flight: self.clone(), bytes: 0 }
    }
}

impl Permit {
    /// Reserves more bytes. Any number is allowed if nothing else is held, so that no operation waits forever.
    fn add(&mut self, bytes: usize) -> bool {
        let fits = |held: usize| (held == 0 || held.saturating_add(bytes) <= MAX_BYTES).then(|| held + bytes);
        let has_room = self.in_flight.0.fetch_update(Relaxed, Relaxed, fits).is_ok();
        self.bytes += if has_room { bytes } else { 0 };
        has_room
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
        let Request::Store(Operation::SetMany { entries }) = owned.views(&strings, &entries).next().unwrap() else {
            panic!("another")
        };
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
            let mut packed = Packed::default();
            assert!(packed.reserve(bytes));
            some().for_each(|string| packed.push(string));
            assert_eq!((packed.0.len(), packed.0.capacity()), (bytes, bytes.max(SHORT)));
            assert!(packed.iter().eq(some()), "{n}");
        }
    }

    #[test]
    fn requests_of_one_kind_share_a_copy_and_come_back_in_their_order() {
        let set = |key, tags| Operation::Set(NewEntry { key, value: b"value", ttl: None, tags });
        let given: [(&[u8], &[&[u8]]); 3] = [(b"a", &[b"t", b"u"]), (b"b", &[]), (b"c", &[b"v"])];
        let in_flight = Arc::default();
        let mut owned = Owned::copy(&set(given[0].0, given[0].1).into(), &in_flight).unwrap();
        assert!(given[1..].iter().all(|(key, tags)| owned.add(&set(key, tags).into())));
        assert_eq!((owned.len(), owned.batch_key()), (3, Some(BatchKey::Set)));
        let strings: Vec<&[u8]> = owned.strings().collect();
        for (request, (key, tags)) in owned.views(&strings, &[]).zip(given) {
            let Request::Store(Operation::Set(entry)) = request else { panic!("another") };
            assert_eq!((entry.key, entry.value, entry.tags), (key, &b"value"[..], tags));
        }
        drop(owned);
        assert_eq!(in_flight.0.load(Relaxed), 0);
    }

    #[test]
    fn what_is_over_the_budget_waits_for_what_is_held() {
        let in_flight = Arc::<InFlight>::default();
        let take = |bytes| {
            let mut permit = in_flight.permit();
            permit.add(bytes).then_some(permit)
        };
        let first = take(MAX_BYTES - 10).unwrap();
        let second = take(10).unwrap();
        assert!(take(1).is_none());
        drop(first);
        assert!(take(MAX_BYTES).is_none() && take(1).is_some());
        drop(second);
        let alone = take(MAX_BYTES * 2).unwrap();
        assert!(take(1).is_none());
        drop(alone);
        assert_eq!(in_flight.0.load(Relaxed), 0);
    }
}
