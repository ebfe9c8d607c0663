//! Events: what the caches of a prefix remove, and what happens to a cache.

use std::ffi::{c_int, c_void};
use std::ptr::null;
use std::sync::Arc;

use super::arguments::{null as null_error, out, pointer_to, slices, yc_slice};
use super::boundary;
use super::cache::{with_handle, yc_cache};
use super::error::{YC_MISS, YC_OK, yc_error, yc_status};
use super::invalidate::YC_COUNT_UNKNOWN;
use super::queue::wait_deadline;
use crate::cache::Subscription;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventFilter, EventKind};
use crate::exec::blocking::wait;
use crate::message::Message;

/// Event: a tag was invalidated. The name is the tag.
pub const YC_EVENT_TAG: u64 = 1;
/// Event: yc_invalidate_pattern() removed the keys that match a pattern. The name
/// is the pattern.
pub const YC_EVENT_PATTERN: u64 = 2;
/// Event: yc_flush() or yc_clear() removed all entries. The name is empty.
pub const YC_EVENT_FLUSH: u64 = 4;
/// Event: a key was deleted, or a delete found that it did not exist. The name is
/// the key. An entry that expires, is evicted or is set again causes no event.
pub const YC_EVENT_DELETE: u64 = 8;
/// Event: yc_switch() has switched this cache to another backend, whose name it has.
pub const YC_EVENT_SWITCH: u64 = 16;
/// Event: the servers of this cache failed, and the fallback serves. The name is that of
/// the backend that serves.
pub const YC_EVENT_FALLBACK_BEGIN: u64 = 32;
/// Event: the servers of this cache serve again. The name is that of their backend.
pub const YC_EVENT_FALLBACK_END: u64 = 64;
/// Event: events may have been lost at this place.
pub const YC_EVENT_GAP: u64 = 128;

/// Flag of a filter of events: the events of this cache are returned too.
pub const YC_EVENTS_OWN: u32 = 1;

/// The bits of the kinds.
const KINDS: [(u64, EventKind); 7] = [
    (YC_EVENT_TAG, EventKind::Tag),
    (YC_EVENT_PATTERN, EventKind::Pattern),
    (YC_EVENT_FLUSH, EventKind::Flush),
    (YC_EVENT_DELETE, EventKind::Delete),
    (YC_EVENT_SWITCH, EventKind::Switch),
    (YC_EVENT_FALLBACK_BEGIN, EventKind::FallbackBegin),
    (YC_EVENT_FALLBACK_END, EventKind::FallbackEnd),
];

/// The events that a reader wants. Set the struct to zero, then set struct_size
/// and the fields that you need. Tags and keys are 1024 together at most.
#[repr(C)]
pub struct yc_events_filter {
    /// Set to sizeof(yc_events_filter).
    pub struct_size: u32,
    /// YC_EVENTS_OWN, or zero.
    pub flags: u32,
    /// The sum of the YC_EVENT_ numbers of the wanted kinds. 0 selects all, except
    /// YC_EVENT_DELETE if there are tags but no keys, and YC_EVENT_TAG if there are
    /// keys but no tags. YC_EVENT_GAP is not allowed: it is always returned.
    pub kinds: u64,
    /// Only invalidations of these tags are wanted. May be NULL if n_tags is 0: then
    /// those of all tags are.
    pub tags: *const yc_slice,
    /// Number of tags.
    pub n_tags: usize,
    /// Only deletions of keys that match one of these globs are wanted; for the
    /// syntax see yc_invalidate_pattern(). May be NULL if n_keys is 0: then those of
    /// all keys are.
    pub keys: *const yc_slice,
    /// Number of globs.
    pub n_keys: usize,
    /// The most bytes of the events that wait to be taken; 0 selects 8 MiB.
    pub max_bytes: u64,
    /// Set to zero.
    pub reserved: [u64; 4],
}

/// A reader of events. Any thread may call any function on it at any time; each
/// event is returned to one caller. yc_events_free() must be the last call. It
/// remains valid after the cache is freed, and then returns YC_E_CLOSED. A child
/// process gets YC_E_FORKED.
pub struct yc_events {
    pub(super) subscription: Arc<Subscription>,
}

/// An event. It contains no value. It is immutable: any thread may read it. It
/// remains valid after its reader and the cache are freed. The caller frees it
/// with yc_event_free().
pub struct yc_event {
    _opaque: [u8; 0],
}

impl yc_event {
    /// Returns a handle that the caller owns.
    pub(super) fn into_raw(message: Message) -> *mut Self {
        Box::into_raw(Box::new(message)).cast()
    }

    /// Borrows the event of a handle; `None` for a gap.
    unsafe fn borrow<'a>(event: *const Self) -> Option<&'a Event> {
        // SAFETY: the caller hands NULL, or a live event of ours.
        match unsafe { event.cast::<Message>().as_ref() } {
            Some(Message::Event(event)) => Some(event),
            _ => None,
        }
    }
}

/// Reads the caller's filter.
unsafe fn read_filter(filter: *const yc_events_filter) -> Result<EventFilter> {
    // SAFETY: the caller hands NULL or a filter.
    let Some(filter) = (unsafe { filter.as_ref() }) else { return EventFilter::new(&[], &[], 0) };
    if (filter.struct_size as usize) < size_of::<yc_events_filter>() {
        let text = format!(
            "struct_size is {}; set the yc_events_filter to zero and struct_size to sizeof(yc_events_filter)",
            filter.struct_size
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    if filter.flags & !YC_EVENTS_OWN != 0 || filter.reserved != [0; 4] {
        let text = format!("flags is {}; it must be YC_EVENTS_OWN or 0, and the reserved fields 0", filter.flags);
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let known: u64 = KINDS.iter().map(|(bit, _)| bit).sum();
    if filter.kinds & !known != 0 {
        let text = format!("kinds is {}; it must be a sum of YC_EVENT_ numbers without YC_EVENT_GAP", filter.kinds);
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    // SAFETY: the caller's arrays, each checked before use.
    let (tags, keys) =
        unsafe { (slices(filter.tags, filter.n_tags, "tags")?, slices(filter.keys, filter.n_keys, "keys")?) };
    let mut wanted = EventFilter::new(&tags, &keys, filter.max_bytes)?;
    wanted.kinds = KINDS.iter().filter(|(bit, _)| filter.kinds & bit != 0).map(|(_, kind)| *kind).collect();
    wanted.own = filter.flags & YC_EVENTS_OWN != 0;
    Ok(wanted)
}

/// Begins to read events, and waits until they are delivered: what is removed
/// after this call has returned causes an event. filter may be NULL: all events
/// are wanted. The library copies the filter.
///
/// An event tells other programs, with the same servers and key_prefix, of an
/// invalidation of a tag or a pattern, a flush or a delete. On Redis each program
/// needs the option events; on Memcached it names the Redis server that carries
/// them. On the memory backend they come from this cache alone. The events of this
/// cache itself are returned with YC_EVENTS_OWN only; those of the kinds
/// YC_EVENT_SWITCH and YC_EVENT_FALLBACK_ concern this cache, and are always
/// returned. An event comes after its change. It may also come for a change that
/// failed, and it may come twice. Where it cannot be sent with its change, in a
/// cluster of Redis and for Memcached, it is sent after it, and the call waits for
/// that, for a second at most. yc_close() waits as long for events that are left. With the option near, read with YC_OP_FRESH after
/// an event: a copy may live for max_staleness.
///
/// No result of the cache depends on an event: it serves to keep other copies in
/// step. Events wait until they are taken, at most max_bytes; later ones are
/// dropped, and a gap takes their place. A slow reader never slows down a writer.
/// If the connection is lost, the library continues, and a gap marks the place;
/// with the option events_journal there is none as long as the same server has the
/// events. The end of a server may cost the last ones: then there is a gap.
///
/// On success *events is the reader. The caller frees it with yc_events_free().
///
/// Errors: YC_E_INVALID for a filter that is not allowed; YC_E_TOO_LARGE for too
/// many or too long names; YC_E_DENIED if the user may not read the channel;
/// YC_E_UNSUPPORTED on Redis and Memcached without the option events, see
/// YC_CAN_EVENTS; others as yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_events_open(
    cache: *mut yc_cache,
    filter: *const yc_events_filter,
    events: *mut *mut yc_events,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_events_open", cache, err, |cache| {
            let (filter, place) = (read_filter(filter)?, out(events, "events")?);
            let subscription = wait(|context| cache.handle.listen(context, filter))?;
            place.write(Box::into_raw(Box::new(yc_events { subscription })));
            Ok(YC_OK)
        })
    }
}

/// Runs the body of the export `name` with the subscription behind a handle.
unsafe fn with_events(
    name: &'static str,
    events: *const yc_events,
    err: *mut *mut yc_error,
    body: impl FnOnce(&Subscription) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live reader of ours.
        let events = unsafe { events.as_ref() }.ok_or_else(|| null_error("events"))?;
        events.subscription.handle().check_process()?;
        body(&events.subscription)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled(name, err, checked) }
}

/// Takes the next event. Waits for it for at most timeout_ms milliseconds; 0 does
/// not wait, -1 waits without a limit.
///
/// Returns:
/// - YC_OK: *event is an event or a gap, see yc_event_kind(). The caller frees it
///   with yc_event_free().
/// - YC_MISS: no event came in time. *event is not written.
/// - YC_E_CLOSED: the cache or the reader was closed.
/// - YC_E_UNSUPPORTED: after yc_switch(), the backend has no events.
/// - YC_E_DENIED: the server has refused the channel since.
/// - YC_E_CONNECT and all other errors of a server: no event came in time, and
///   events are not delivered at present. The reader continues by itself.
///
/// The first three errors are the end of the reader: they come after its last
/// event, and again for each further call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_events_next(
    events: *mut yc_events,
    timeout_ms: i64,
    event: *mut *mut yc_event,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_events("yc_events_next", events, err, |subscription| {
            let (deadline, place) = (wait_deadline(timeout_ms)?, out(event, "event")?);
            let Some(taken) = wait(|context| subscription.next(context, deadline))? else { return Ok(YC_MISS) };
            place.write(yc_event::into_raw(taken.arrive()));
            Ok(YC_OK)
        })
    }
}

/// Returns in *fd a file descriptor that is readable while events wait, and once
/// the reader has ended. Use it as that of yc_subscription_fd().
///
/// Errors: YC_E_BUSY if the process cannot open another file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_events_fd(events: *mut yc_events, fd: *mut c_int, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_events("yc_events_fd", events, err, |subscription| {
            out(fd, "fd")?.write(subscription.fd()?);
            Ok(YC_OK)
        })
    }
}

/// Ends a reader: no more events are delivered. Those that wait can still be
/// taken; then yc_events_next() returns YC_E_CLOSED, also to callers that wait. A
/// second close returns YC_OK and has no effect. yc_close() ends the readers of
/// its cache.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_events_close(events: *mut yc_events, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_events("yc_events_close", events, err, |subscription| {
            subscription.close();
            Ok(YC_OK)
        })
    }
}

/// Frees a reader and the events that were not taken, and ends it if it was not
/// closed. No other thread may use the handle any more. Never blocks. NULL is
/// allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_events_free(events: *mut yc_events) {
    // SAFETY: the caller hands NULL or a live reader of ours.
    let owned = unsafe { events.as_ref() };
    let foreign = owned.is_some_and(|it| it.subscription.handle().check_process().is_err());
    // In the child of a fork it is the parent's: leaked, as yc_cache_free() leaks the cache.
    if !foreign {
        // An operation of a queue may still hold it.
        if let Some(it) = owned {
            it.subscription.close();
        }
        // SAFETY: the caller hands NULL or a reader of ours, once.
        unsafe { boundary::free(events) }
    }
}

/// Returns the kind of an event: a YC_EVENT_ number. Returns 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_kind(event: *const yc_event) -> u64 {
    if event.is_null() {
        return 0;
    }
    // SAFETY: the caller's event, handed on.
    let kind = unsafe { yc_event::borrow(event) }.map(|event| event.kind);
    KINDS.iter().find(|(_, it)| Some(*it) == kind).map_or(YC_EVENT_GAP, |(bit, _)| *bit)
}

/// Returns the name of an event and writes its length to *len: the tag, the
/// pattern, the key or the backend. len may be NULL. The event owns the bytes. For
/// a gap, and for NULL, the function returns NULL and writes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_name(event: *const yc_event, len: *mut usize) -> *const c_void {
    // SAFETY: the caller's event, handed on.
    let name = unsafe { yc_event::borrow(event) }.map(|event| &*event.name);
    if !len.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { len.write(name.map_or(0, <[u8]>::len)) };
    }
    name.map_or(null(), pointer_to)
}

/// Returns the number of the opened cache that an event comes from: a random
/// number. Returns 0 for a gap and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_origin(event: *const yc_event) -> u64 {
    // SAFETY: the caller's event, handed on.
    unsafe { yc_event::borrow(event) }.map_or(0, |event| event.origin)
}

/// Returns the number of an event among those of its origin. Numbers increase;
/// events of calls at the same time may come in another order. Returns 0 for a gap
/// and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_sequence(event: *const yc_event) -> u64 {
    // SAFETY: the caller's event, handed on.
    unsafe { yc_event::borrow(event) }.map_or(0, |event| event.sequence)
}

/// Returns the time at which the change of an event began, in milliseconds since
/// 1970-01-01 UTC by the clock of its origin. Returns 0 for a gap and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_time_ms(event: *const yc_event) -> i64 {
    // SAFETY: the caller's event, handed on.
    let time = unsafe { yc_event::borrow(event) }.map_or(0, |event| event.time_ms);
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Returns 1 if an event comes from the cache that its reader was opened on, else
/// 0. Returns 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_is_own(event: *const yc_event) -> c_int {
    // SAFETY: the caller's event, handed on.
    unsafe { yc_event::borrow(event) }.map_or(0, |event| c_int::from(event.is_own))
}

/// Returns the number of events that the reader dropped at a gap, or
/// YC_COUNT_UNKNOWN if it is not known how many are missing. Returns 0 for another
/// event, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_lost(event: *const yc_event) -> u64 {
    // SAFETY: the caller hands NULL, or a live event of ours.
    match unsafe { event.cast::<Message>().as_ref() } {
        Some(Message::Lost(lost)) => lost.unwrap_or(YC_COUNT_UNKNOWN),
        _ => 0,
    }
}

/// Frees an event. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_event_free(event: *mut yc_event) {
    // SAFETY: the caller hands NULL or an event of ours, once.
    unsafe { boundary::free(event.cast::<Message>()) }
}
