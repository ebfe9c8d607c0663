//! Channels: publishing messages, and subscriptions.

use std::ffi::{c_int, c_void};
use std::ptr::null;
use std::sync::Arc;

use super::arguments::{bytes, null as null_error, out, pointer_to, slices, yc_slice};
use super::boundary;
use super::cache::{with_handle, yc_cache};
use super::error::{YC_MISS, YC_OK, yc_error, yc_status};
use super::invalidate::{YC_COUNT_UNKNOWN, count};
use super::queue::wait_deadline;
use super::trace::call;
use crate::cache::Subscription;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::blocking::wait;
use crate::message::{Filter, Message};
use crate::operation::{Operation, Outcome};

/// The channels of a subscription: those of the given names, and those that match
/// a pattern. Set the struct to zero, then set struct_size and the fields that you
/// need. At least one channel or pattern is needed; the limit is 1024 together,
/// with 8 MiB.
#[repr(C)]
pub struct yc_filter {
    /// Set to sizeof(yc_filter).
    pub struct_size: u32,
    /// Set to zero.
    pub flags: u32,
    /// Names of channels, 1 byte to 64 KiB each. May be NULL if n_channels is 0.
    pub channels: *const yc_slice,
    /// Number of channels.
    pub n_channels: usize,
    /// Globs, for the syntax see yc_invalidate_pattern(). May be NULL if n_patterns
    /// is 0.
    pub patterns: *const yc_slice,
    /// Number of patterns.
    pub n_patterns: usize,
    /// The most bytes of the messages that wait to be taken; 0 selects 8 MiB.
    pub max_bytes: u64,
    /// Set to zero.
    pub reserved: [u64; 4],
}

/// A subscription. Any thread may call any function on it at any time; each
/// message is returned to one caller. yc_subscription_free() must be the last
/// call. It remains valid after the cache is freed, and then returns YC_E_CLOSED;
/// until it is freed, the thread of the library may live on. A child process gets
/// YC_E_FORKED.
pub struct yc_subscription {
    pub(super) subscription: Arc<Subscription>,
}

/// A message, or a gap: messages may have been lost at this place. It is
/// immutable: any thread may read it. It remains valid after the subscription and
/// the cache are freed. The caller frees it with yc_message_free().
pub struct yc_message {
    _opaque: [u8; 0],
}

impl yc_message {
    /// Returns a handle that the caller owns.
    pub(super) fn into_raw(message: Message) -> *mut Self {
        Box::into_raw(Box::new(message)).cast()
    }

    /// Borrows the message of a handle.
    unsafe fn borrow<'a>(message: *const Self) -> Option<&'a Message> {
        // SAFETY: the caller hands NULL, or a live message of ours.
        unsafe { message.cast::<Message>().as_ref() }
    }
}

/// Reads the caller's filter.
unsafe fn read_filter(filter: *const yc_filter) -> Result<Filter> {
    // SAFETY: the caller hands NULL or a filter.
    let filter = unsafe { filter.as_ref() }.ok_or_else(|| null_error("filter"))?;
    if (filter.struct_size as usize) < size_of::<yc_filter>() {
        let text = format!(
            "struct_size is {}; set the yc_filter to zero and struct_size to sizeof(yc_filter)",
            filter.struct_size
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    if filter.flags != 0 || filter.reserved != [0; 4] {
        let text = format!("flags is {}; it must be 0, as the reserved fields", filter.flags);
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    // SAFETY: the caller's arrays, each checked before use.
    let (channels, patterns) = unsafe {
        (
            slices(filter.channels, filter.n_channels, "channels")?,
            slices(filter.patterns, filter.n_patterns, "patterns")?,
        )
    };
    Filter::new(&channels, &patterns, filter.max_bytes)
}

/// Sends a message to every subscription that selects the channel, in every
/// process that uses the same servers and key_prefix. A channel need not be
/// created. The name has 1 byte to 64 KiB. The message has up to max_value_bytes;
/// it may be empty. It is not stored: who is not subscribed does not get it. The
/// library never sends a message twice.
///
/// On the memory backend the message goes to the subscriptions of this cache. On
/// Redis, and on Memcached with the option events, which names a Redis server, it
/// goes to those of all programs on the server or cluster: names lie under
/// key_prefix unless the option raw_channels is set, and the option db does not
/// separate channels.
///
/// On success *receivers is the number of subscriptions that the message was sent
/// to, or YC_COUNT_UNKNOWN in a cluster of Redis. Redis counts a subscription once
/// for the name of the channel, and once for each pattern that matches. receivers
/// may be NULL.
///
/// Errors: YC_E_TOO_LARGE; YC_E_DENIED if the user lacks the permission for the
/// channel; YC_E_UNSUPPORTED on Memcached without the option events, see
/// YC_CAN_PUBLISH; YC_E_TIMEOUT if no reply came: the message may have been sent;
/// YC_E_CONNECT also while a fallback serves, which has no channels; others as
/// yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_publish(
    cache: *mut yc_cache,
    channel: *const c_void,
    channel_len: usize,
    message: *const c_void,
    message_len: usize,
    receivers: *mut u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        // Raising the event of a subscription is a system call, and a cancellation point.
        with_handle("yc_publish", cache, err, |cache| {
            let cache = cache.handle.load();
            let (channel, message) = (bytes(channel, channel_len, "channel")?, bytes(message, message_len, "message")?);
            let outcome = call(&cache, Operation::Publish { channel, message })?;
            if let (Outcome::Received(number), false) = (outcome, receivers.is_null()) {
                receivers.write(count(number));
            }
            Ok(YC_OK)
        })
    }
}

/// Subscribes to the channels of a filter, and waits until their messages are
/// delivered: what is published after this call has returned is received. The
/// library copies the filter. On Redis each subscription has a connection of its
/// own.
///
/// Messages wait in the subscription until they are taken, at most max_bytes. What
/// comes beyond that is dropped, and a gap with the number of dropped messages
/// takes their place: a slow reader never slows down a publisher. If the
/// connection is lost, the library subscribes again; a gap without a number marks
/// the place. A message that several channels or patterns select comes once. A
/// message of another program that is longer than max_value_bytes may be a gap of 1.
/// After yc_switch() the subscription continues at the new backend, after a gap.
///
/// On success *subscription is the subscription. The caller frees it with
/// yc_subscription_free().
///
/// Errors: YC_E_INVALID for a filter without a channel or with an empty one;
/// YC_E_TOO_LARGE for a name over 64 KiB or too many; YC_E_DENIED; YC_E_UNSUPPORTED
/// on Memcached without the option events; others as yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_subscribe(
    cache: *mut yc_cache,
    filter: *const yc_filter,
    subscription: *mut *mut yc_subscription,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_subscribe", cache, err, |cache| {
            let (filter, place) = (read_filter(filter)?, out(subscription, "subscription")?);
            let subscription = wait(|context| cache.handle.subscribe(context, filter))?;
            place.write(Box::into_raw(Box::new(yc_subscription { subscription })));
            Ok(YC_OK)
        })
    }
}

/// Runs the body of the export `name` with the subscription behind a handle.
unsafe fn with_subscription(
    name: &'static str,
    subscription: *const yc_subscription,
    err: *mut *mut yc_error,
    body: impl FnOnce(&Subscription) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live subscription of ours.
        let subscription = unsafe { subscription.as_ref() }.ok_or_else(|| null_error("subscription"))?;
        subscription.subscription.handle().check_process()?;
        body(&subscription.subscription)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled(name, err, checked) }
}

/// Takes the next message of a subscription. Waits for it for at most timeout_ms
/// milliseconds; 0 does not wait, -1 waits without a limit.
///
/// Returns:
/// - YC_OK: *message is a message or a gap, see yc_message_lost(). The caller
///   frees it with yc_message_free().
/// - YC_MISS: no message came in time. *message is not written.
/// - YC_E_CLOSED: the cache or the subscription was closed.
/// - YC_E_UNSUPPORTED: after yc_switch(), the backend has no channels.
/// - YC_E_DENIED: the server has refused the channels since.
/// - YC_E_CONNECT and all other errors of a server: no message came in time, and
///   the subscription is interrupted at present. It continues by itself, with a
///   gap.
///
/// The first three errors are the end of the subscription: they come after its
/// last message, and again for each further call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_subscription_next(
    subscription: *mut yc_subscription,
    timeout_ms: i64,
    message: *mut *mut yc_message,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_subscription("yc_subscription_next", subscription, err, |subscription| {
            let (deadline, place) = (wait_deadline(timeout_ms)?, out(message, "message")?);
            let Some(taken) = wait(|context| subscription.next(context, deadline))? else { return Ok(YC_MISS) };
            place.write(yc_message::into_raw(taken.arrive()));
            Ok(YC_OK)
        })
    }
}

/// Returns in *fd a file descriptor that is readable while messages wait, and once
/// the subscription has ended, for epoll, poll or libuv. Then call
/// yc_subscription_next() with timeout_ms 0 as long as it returns YC_OK. The
/// subscription owns the descriptor until yc_subscription_free(). Watch it; do not
/// read, write or close it. It tells of the gap after an outage, not of the outage.
///
/// Errors: YC_E_BUSY if the process cannot open another file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_subscription_fd(
    subscription: *mut yc_subscription,
    fd: *mut c_int,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_subscription("yc_subscription_fd", subscription, err, |subscription| {
            out(fd, "fd")?.write(subscription.fd()?);
            Ok(YC_OK)
        })
    }
}

/// Ends a subscription: no more messages are received. Those that wait can still
/// be taken; then yc_subscription_next() returns YC_E_CLOSED, also to callers that
/// wait. A second close returns YC_OK and has no effect. yc_close() ends the
/// subscriptions of its cache.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_subscription_close(
    subscription: *mut yc_subscription,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_subscription("yc_subscription_close", subscription, err, |subscription| {
            subscription.close();
            Ok(YC_OK)
        })
    }
}

/// Frees a subscription and the messages that were not taken, and ends it if it
/// was not closed. No other thread may use the handle any more. Never blocks. NULL
/// is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_subscription_free(subscription: *mut yc_subscription) {
    // SAFETY: the caller hands NULL or a live subscription of ours.
    let owned = unsafe { subscription.as_ref() };
    let foreign = owned.is_some_and(|it| it.subscription.handle().check_process().is_err());
    // In the child of a fork it is the parent's: leaked, as yc_cache_free() leaks the cache.
    if !foreign {
        // An operation of a queue may still hold it.
        if let Some(it) = owned {
            it.subscription.close();
        }
        // SAFETY: the caller hands NULL or a subscription of ours, once.
        unsafe { boundary::free(subscription) }
    }
}

/// Returns the channel of a message and writes its length to *len. len may be
/// NULL. The message owns the bytes. For a gap, and for NULL, the function returns
/// NULL and writes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_message_channel(message: *const yc_message, len: *mut usize) -> *const c_void {
    // SAFETY: the caller's arguments, handed on.
    unsafe {
        part(message, len, |message| match message {
            Message::Published { channel, .. } => Some(channel),
            Message::Event(_) | Message::Lost(_) => None,
        })
    }
}

/// Returns the bytes of a message and writes their number to *len. len may be
/// NULL. The message owns the bytes. For a gap, and for NULL, the function returns
/// NULL and writes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_message_data(message: *const yc_message, len: *mut usize) -> *const c_void {
    // SAFETY: the caller's arguments, handed on.
    unsafe {
        part(message, len, |message| match message {
            Message::Published { data, .. } => Some(data),
            Message::Event(_) | Message::Lost(_) => None,
        })
    }
}

/// Returns a part of a message.
unsafe fn part(
    message: *const yc_message,
    len: *mut usize,
    part: impl FnOnce(&Message) -> Option<&[u8]>,
) -> *const c_void {
    // SAFETY: the caller's message, handed on.
    let bytes = unsafe { yc_message::borrow(message) }.and_then(part);
    if !len.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { len.write(bytes.map_or(0, <[u8]>::len)) };
    }
    bytes.map_or(null(), pointer_to)
}

/// Returns the number of messages that were lost at this place, or
/// YC_COUNT_UNKNOWN if it is not known, or not known whether any was. Returns 0 for
/// a message that was published, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_message_lost(message: *const yc_message) -> u64 {
    // SAFETY: the caller's message, handed on.
    match unsafe { yc_message::borrow(message) } {
        Some(Message::Lost(lost)) => lost.unwrap_or(YC_COUNT_UNKNOWN),
        Some(Message::Published { .. } | Message::Event(_)) | None => 0,
    }
}

/// Frees a message. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_message_free(message: *mut yc_message) {
    // SAFETY: the caller hands NULL or a message of ours, once.
    unsafe { boundary::free(message.cast::<Message>()) }
}
