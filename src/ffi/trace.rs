//! `yc_set_trace`: reports the beginning and the end of calls to a callback of the host.

use std::ffi::c_void;
use std::ptr::null;

use super::arguments::{UserData, yc_finalise_fn, yc_slice};
use super::boundary::answer;
use super::cache::{with_handle, yc_cache};
use super::completion::*;
use super::error::*;
use super::lease::{sized, wrong_flags};
use super::{batch::*, boundary};
use crate::cache::Cache;
use crate::cache::trace::{End, Listener, Listening, Span, Status, set_context};
use crate::error::Result;
use crate::operation::{Operation, Outcome};

/// Flag of yc_trace_options: spans have the keys of their calls.
pub const YC_TRACE_KEYS: u32 = 1;

/// Phase of a span: the call begins. The fields of the result are 0.
pub const YC_SPAN_BEGIN: i32 = 1;
/// Phase of a span: the call has ended.
pub const YC_SPAN_END: i32 = 2;

/// Flag of a span: the value came from the near cache, without a request.
pub const YC_SPAN_NEAR: u32 = 1;
/// Flag of a span: the fallback serves in place of the servers.
pub const YC_SPAN_FALLBACK: u32 = 2;

/// The options of yc_set_trace(). Set the struct to zero, then set struct_size and
/// the fields that you need.
#[repr(C)]
pub struct yc_trace_options {
    /// Set to sizeof(yc_trace_options).
    pub struct_size: u32,
    /// 0 or YC_TRACE_KEYS.
    pub flags: u32,
    /// One call in so many has a span, selected at random; 0 and 1 select every call.
    /// With 64 or more, hits in memory without a span cost nothing; with less, every
    /// hit takes longer.
    pub interval: u64,
    /// Set to zero.
    pub reserved: [u64; 4],
}

/// A call. The library owns the struct and its strings, which are valid until the
/// callback returns. Strings are not followed by a NUL.
#[repr(C)]
pub struct yc_span {
    /// Size of the struct in bytes. Later versions of the library have more fields.
    pub struct_size: u32,
    /// Kind of the operation: a YC_OP_ number.
    pub kind: i32,
    /// Identifies the span in this process. Never 0.
    pub id: u64,
    /// The context of the thread at the beginning: see yc_set_trace_context().
    pub context: u64,
    /// The user_data of an operation of yc_batch() or of a queue; else 0.
    pub user_data: u64,
    /// The backend: "memory", "redis" or "memcached".
    pub backend: yc_slice,
    /// The server as yc_health() names it; empty if there is no server, if the keys
    /// may be on several, or if the server is not known yet.
    pub server: yc_slice,
    /// The key_prefix of the cache.
    pub key_prefix: yc_slice,
    /// The namespace of the view; empty for a cache.
    pub name_space: yc_slice,
    /// The key with YC_TRACE_KEYS; empty without it, and for operations that do not
    /// have exactly one.
    pub key: yc_slice,
    /// Number of keys.
    pub keys: u64,
    /// Result: the status that the function of this kind returns.
    pub status: yc_status,
    /// YC_SPAN_FALLBACK. Result: also YC_SPAN_NEAR.
    pub flags: u32,
    /// Result: the bytes of the values that were read or written.
    pub bytes: u64,
    /// Result: the time from the beginning to the outcome in nanoseconds.
    pub duration_ns: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Receives the beginning (phase YC_SPAN_BEGIN) and the end (YC_SPAN_END) of a
/// call. Each beginning is followed by one end with the same id. The beginning is
/// reported on the thread that makes or submits the call, before it runs. The end
/// is reported on the thread that gets the result: inside the call, in
/// yc_queue_poll() or yc_queue_wait(), or in yc_queue_free() for a completion that
/// was not taken. Several threads may call the function at the same time.
///
/// The function must not block for long, throw or call longjmp(). It may call the
/// library, but must not close, free, switch or migrate a cache, or wait for a
/// queue. Its own calls have no spans.
pub type yc_trace_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, phase: i32, span: *const yc_span)>;

struct Callback {
    trace: unsafe extern "C" fn(user_data: *mut c_void, phase: i32, span: *const yc_span),
    data: UserData,
}

impl Callback {
    fn report(&self, phase: i32, span: &yc_span) {
        // SAFETY: the host's own function with the host's own data; the span outlives the call.
        unsafe { (self.trace)(self.data.pointer(), phase, span) };
    }
}

impl Listener for Callback {
    fn begin(&self, span: &Span) {
        self.report(YC_SPAN_BEGIN, &yc_span::of(span));
    }

    fn end(&self, span: &Span, end: End) {
        let ended = yc_span {
            status: number_of(end.status),
            bytes: end.bytes,
            duration_ns: u64::try_from(end.took.as_nanos()).unwrap_or(u64::MAX),
            ..yc_span::of(span)
        };
        self.report(YC_SPAN_END, &ended);
    }
}

impl yc_span {
    fn of(span: &Span) -> Self {
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        Self {
            struct_size: size_of::<Self>() as u32,
            kind: span.kind,
            id: span.id,
            context: span.context,
            user_data: span.user_data,
            backend: slice(Some(span.backend.as_bytes())),
            server: slice(span.route.server.as_deref().map(str::as_bytes)),
            key_prefix: slice(Some(span.key_prefix.as_bytes())),
            name_space: slice(span.namespace.as_deref().map(str::as_bytes)),
            key: slice(span.key.as_deref()),
            keys: span.keys,
            status: YC_OK,
            flags: flag(span.is_near, YC_SPAN_NEAR) | flag(span.route.is_fallback, YC_SPAN_FALLBACK),
            bytes: 0,
            duration_ns: 0,
            reserved: [0; 4],
        }
    }
}

fn slice(bytes: Option<&[u8]>) -> yc_slice {
    match bytes {
        Some(bytes) if !bytes.is_empty() => yc_slice { data: bytes.as_ptr().cast(), len: bytes.len() },
        _ => yc_slice { data: null(), len: 0 },
    }
}

fn number_of(status: Status) -> yc_status {
    match status {
        Status::Ok => YC_OK,
        Status::Miss => YC_MISS,
        Status::End => YC_END,
        Status::Stale => YC_STALE,
        Status::Absent => YC_ABSENT,
        Status::Leased => YC_LEASED,
        Status::Superseded => YC_SUPERSEDED,
        Status::Unmet => YC_UNMET,
        Status::Failed(kind) => status_of(kind),
    }
}

fn kind_of(operation: &Operation<'_>) -> i32 {
    match operation {
        Operation::Get { .. } => YC_OP_GET,
        Operation::Set(_) => YC_OP_SET,
        Operation::Delete { .. } => YC_OP_DELETE,
        Operation::Exists { .. } => YC_OP_EXISTS,
        Operation::Expire { .. } => YC_OP_EXPIRE,
        Operation::Ttl { .. } => YC_OP_TTL,
        Operation::GetVersioned { .. } => YC_OP_GET_VERSIONED,
        Operation::GetInfo { .. } => YC_OP_GET_INFO,
        Operation::SetIf { .. } => YC_OP_SET_IF,
        Operation::DeleteIf { .. } => YC_OP_DELETE_IF,
        Operation::GetAndExpire { .. } => YC_OP_GET_AND_EXPIRE,
        Operation::CounterAdd(_) => YC_OP_COUNTER_ADD,
        Operation::GetMany { .. } => YC_OP_GET_MANY,
        Operation::SetMany { .. } => YC_OP_SET_MANY,
        Operation::DeleteMany { .. } => YC_OP_DELETE_MANY,
        Operation::InvalidateTags { .. } => YC_OP_INVALIDATE_TAGS,
        Operation::InvalidatePatterns { .. } => YC_OP_INVALIDATE_PATTERN,
        Operation::Flush { .. } => YC_OP_FLUSH,
        Operation::Clear { .. } => YC_OP_CLEAR,
        Operation::Ping => YC_OP_PING,
        Operation::Usage => YC_OP_STATS,
        Operation::Explain { .. } => YC_OP_EXPLAIN,
        Operation::GetOrLease { .. } => YC_OP_GET_OR_LEASE,
        Operation::LeaseFill { .. } => YC_OP_LEASE_FILL,
        Operation::LeaseAbandon { .. } => YC_OP_LEASE_ABANDON,
        Operation::Command(_) => YC_OP_REDIS_COMMAND,
        Operation::Publish { .. } => YC_OP_PUBLISH,
    }
}

/// Runs an operation of a call to its end, with a span if the call is sampled.
#[inline(always)]
pub(super) fn call(cache: &Cache, operation: Operation<'_>) -> Result<Outcome> {
    match begin(cache, &operation) {
        None => answer(|context| cache.call(context, operation)),
        Some(span) => call_traced(cache, operation, span),
    }
}

/// Begins the span of a call, if it is sampled.
#[inline(always)]
pub(super) fn begin(cache: &Cache, operation: &Operation<'_>) -> Option<Span> {
    if cache.is_traced() { cache.begin_call(kind_of(operation), operation) } else { None }
}

/// Runs the operation of a span to its end.
#[cold]
#[inline(never)]
pub(super) fn call_traced(cache: &Cache, operation: Operation<'_>, mut span: Span) -> Result<Outcome> {
    let outcome = answer(|context| cache.call_traced(context, operation, &mut span));
    span.end(cache, &outcome);
    outcome
}

/// Sets the function that receives the spans of a cache and of its views, in place
/// of the previous one. If trace is NULL, tracing ends. Tracing is off by default.
/// options may be NULL: every call has a span, without its key.
///
/// A call has a span if it runs an operation on entries, tags, leases or channels,
/// a Redis command, or yc_ping(). Every operation of yc_batch() and of a queue has
/// a span of its own, with its user_data. yc_get_near(), listings, searches and
/// reports have none outside of a batch and a queue, and neither has a call that is
/// refused because of a NULL, a length or a closed handle. Retries, and requests
/// that several operations share, have no spans of their own.
///
/// Calls that begin after the function has returned have no span of the previous
/// function. The spans of earlier calls still end there. The library calls finalise,
/// which may be NULL, with user_data after the last call of trace, at the latest
/// when the cache, its views and its queues are freed, unless this function fails.
/// It calls it on any thread.
///
/// Errors: YC_E_INVALID for unknown flags; YC_E_CLOSED, YC_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_set_trace(
    cache: *mut yc_cache,
    options: *const yc_trace_options,
    trace: yc_trace_fn,
    user_data: *mut c_void,
    finalise: yc_finalise_fn,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_set_trace", cache, err, |cache| {
            let options = sized(options, "yc_trace_options")?;
            let (flags, interval) = options.map_or((0, 1), |it| (it.flags, it.interval.max(1)));
            if flags & !YC_TRACE_KEYS != 0 {
                return Err(wrong_flags("yc_trace_options", flags, "0 or YC_TRACE_KEYS"));
            }
            // Without a function there is nothing to keep the data for: the finaliser runs now.
            let data = UserData::new(user_data, finalise);
            cache.handle.load().tracer().set(trace.map(|trace| Listening {
                listener: Box::new(Callback { trace, data }),
                interval,
                with_keys: flags & YC_TRACE_KEYS != 0,
            }));
            Ok(YC_OK)
        })
    }
}

/// Sets the context of the spans that begin on the calling thread, for all caches,
/// and returns the previous one. It is 0 by default. The library does not use it: it
/// is for example the number of a parent span.
#[unsafe(no_mangle)]
pub extern "C" fn yc_set_trace_context(context: u64) -> u64 {
    let mut before = 0;
    let body = || {
        before = set_context(context);
        Ok(YC_OK)
    };
    // SAFETY: no place for an error.
    unsafe { boundary::call("yc_set_trace_context", std::ptr::null_mut(), body) };
    before
}
