//! `yc_batch`: an array of operations in one call.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use super::arguments::{array, bytes, null, slices, yc_slice};
use super::boundary::{self, Uncancelled, wait_cancellable};
use super::cache::{with_handle_of, yc_cache};
use super::command::{command, yc_reply};
use super::completion::{
    YC_OP_CLEAR, YC_OP_COUNTER_ADD, YC_OP_DELETE_IF, YC_OP_EXPLAIN, YC_OP_GET_AND_EXPIRE, YC_OP_GET_INFO,
    YC_OP_GET_OR_LEASE, YC_OP_GET_VERSIONED, YC_OP_LEASE_ABANDON, YC_OP_LEASE_FILL, YC_OP_PUBLISH, YC_OP_REDIS_COMMAND,
    YC_OP_SET_IF, yc_completion,
};
use super::conditional::set_condition;
use super::error::{YC_OK, yc_error, yc_status};
use super::info::max_age;
use super::lease::{fill_tags, lease_options, lease_tags, read_fill, yc_lease};
use super::value::yc_value;
use crate::cache::trace::Span;
use crate::cache::{Cache, CacheHandle, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::blocking::wait;
use crate::exec::cancel::CancelToken;
use crate::operation::{Addition, NewEntry, Operation, Outcome, PatternMode};
use crate::ttl::Ttl;
use crate::util::allocation;

/// Largest number of bytes that the lists of a batch hold for each operation.
const OUTCOME: usize = 256;

/// Kind of operation: yc_get().
pub const YC_OP_GET: i32 = 1;
/// Kind of operation: yc_set().
pub const YC_OP_SET: i32 = 2;
/// Kind of operation: yc_delete().
pub const YC_OP_DELETE: i32 = 3;
/// Kind of operation: yc_exists().
pub const YC_OP_EXISTS: i32 = 4;
/// Kind of operation: yc_expire().
pub const YC_OP_EXPIRE: i32 = 5;
/// Kind of operation: yc_ttl().
pub const YC_OP_TTL: i32 = 6;
/// Kind of operation: yc_invalidate_tags().
pub const YC_OP_INVALIDATE_TAGS: i32 = 7;
/// Kind of operation: yc_invalidate_pattern(). The field key contains the pattern.
pub const YC_OP_INVALIDATE_PATTERN: i32 = 8;
/// Kind of operation: yc_flush().
pub const YC_OP_FLUSH: i32 = 9;
/// Kind of operation: yc_ping().
pub const YC_OP_PING: i32 = 10;

/// Kind of operation: yc_stats().
pub const YC_OP_STATS: i32 = 11;
/// Kind of operation: yc_health().
pub const YC_OP_HEALTH: i32 = 12;
/// Kind of operation: yc_metrics().
pub const YC_OP_METRICS: i32 = 13;

/// Flag of an operation: count the entries that an invalidation or a flush
/// removes.
pub const YC_OP_COUNT: u32 = 1;
/// Flag of a YC_OP_REDIS_COMMAND: the library may send the command again if its
/// reply was lost. Set it only if the command does the same when it runs twice.
pub const YC_OP_IDEMPOTENT: u32 = 2;
/// Flag of a YC_OP_GET or YC_OP_GET_OR_LEASE: read from the servers, also if the
/// near cache has a copy. Without a near cache it has no effect.
pub const YC_OP_FRESH: u32 = 4;
/// Flag of a YC_OP_INVALIDATE_TAGS, YC_OP_INVALIDATE_PATTERN, YC_OP_CLEAR or
/// YC_OP_FLUSH: count the entries that it would remove, and remove nothing. No other
/// process notices a dry run, and it causes no event. See yc_invalidate_tags().
pub const YC_OP_DRY_RUN: u32 = 8;

/// An operation and its result. Set the struct to zero, then set the fields that
/// the kind needs. "Result" marks the fields that yc_batch() writes.
#[repr(C)]
pub struct yc_op {
    /// Kind of the operation: one of YC_OP_GET to YC_OP_METRICS, of
    /// YC_OP_GET_VERSIONED to YC_OP_PUBLISH, YC_OP_GET_INFO, or YC_OP_CLEAR.
    pub kind: i32,
    /// 0, YC_OP_COUNT, YC_OP_IDEMPOTENT, YC_OP_FRESH or YC_OP_DRY_RUN.
    pub flags: u32,
    /// The key or pattern. May be NULL if key_len is 0.
    pub key: *const c_void,
    /// Length of key in bytes.
    pub key_len: usize,
    /// The value to store, or the struct that the kind needs. May be NULL if
    /// value_len is 0.
    pub value: *const c_void,
    /// Length of value in bytes.
    pub value_len: usize,
    /// The tags to set, to invalidate or to report by, or the arguments of a
    /// YC_OP_REDIS_COMMAND. May be NULL if n_tags is 0.
    pub tags: *const yc_slice,
    /// Number of tags.
    pub n_tags: usize,
    /// Time to live for YC_OP_SET, YC_OP_EXPIRE, YC_OP_SET_IF,
    /// YC_OP_GET_AND_EXPIRE and YC_OP_COUNTER_ADD, see yc_set(); retry_after_ms for
    /// YC_OP_LEASE_ABANDON.
    pub ttl_ms: i64,
    /// Data of the caller. The library does not use it.
    pub user_data: u64,
    /// Result: the status that the function of this kind returns.
    pub status: yc_status,
    /// Condition of a YC_OP_SET_IF: YC_IF_ABSENT, YC_IF_PRESENT or
    /// YC_IF_VERSION; else zero.
    pub condition: i32,
    /// Result: the value of a YC_OP_GET, YC_OP_GET_VERSIONED, YC_OP_GET_INFO or
    /// YC_OP_GET_AND_EXPIRE with status YC_OK or of a YC_OP_GET_OR_LEASE, or the
    /// text of a YC_OP_STATS, YC_OP_HEALTH, YC_OP_METRICS or YC_OP_EXPLAIN; else
    /// NULL. The caller frees it with yc_value_free().
    pub result: *mut yc_value,
    /// Result: the error if status is negative, else NULL. The caller frees it
    /// with yc_error_free().
    pub error: *mut yc_error,
    /// Result of YC_OP_TTL and YC_OP_GET_INFO: the remaining time in milliseconds, or
    /// -1 if the entry never expires; else 0.
    pub remaining_ms: i64,
    /// Result: the number of removed entries, or YC_COUNT_UNKNOWN. With
    /// YC_OP_DRY_RUN the number of those that would be removed.
    pub removed: u64,
    /// The version that a YC_OP_SET_IF or YC_OP_DELETE_IF compares. Result: the
    /// version of a YC_OP_GET_VERSIONED or YC_OP_GET_INFO, or of the entry that a
    /// YC_OP_SET_IF has stored; else 0.
    pub version: u64,
    /// The delta of a YC_OP_COUNTER_ADD, the key_index of a YC_OP_REDIS_COMMAND, the
    /// max_age_ms of a YC_OP_GET_INFO. Result: the value of the counter, the number
    /// of subscriptions that a YC_OP_PUBLISH was sent to, -1 if it is unknown, or the
    /// age_ms of a YC_OP_GET_INFO; else 0.
    pub number: i64,
    /// The initial value of the counter of a YC_OP_COUNTER_ADD.
    pub initial: i64,
    /// The lease to fill or to abandon. Result of a YC_OP_GET_OR_LEASE: the lease,
    /// or NULL. The caller frees it with yc_lease_free().
    pub lease: *mut yc_lease,
    /// Result: the reply to a YC_OP_REDIS_COMMAND with status YC_OK; else NULL. The
    /// caller frees it with yc_reply_free().
    pub reply: *mut yc_reply,
    /// Result: the number of tags of the entry of a YC_OP_GET_INFO; else 0.
    pub tag_count: u64,
    /// Time limit of the operation in milliseconds, up to a day: shorter or longer than
    /// socket_timeout, but in yc_batch() no longer than what is left of the call. 0
    /// selects that of the call. Reports and dry runs refuse it with YC_E_INVALID.
    pub timeout_ms: u64,
    /// Set to zero.
    pub reserved: [u64; 1],
}

/// Runs n operations in order, each as the function of its kind does. Operations
/// that can share a round trip to a server do so. ops is an array of n operations
/// of stride bytes each; stride is sizeof(yc_op). With the stride, a program that
/// was compiled against a later, longer yc_op works with this library.
///
/// All operations share the deadline of the call (socket_timeout). An operation
/// that was not reached in time gets YC_E_TIMEOUT and was not sent. YC_OP_FLUSH,
/// YC_OP_INVALIDATE_PATTERN and dry runs walk the whole cache and have no time
/// limit; the operations after them have the time that was left.
///
/// Returns YC_OK if all operations were run: check the status of each. On any
/// other status the arguments were refused, no operation was run, and the fields
/// of the operations are not written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_batch(
    cache: *mut yc_cache,
    ops: *mut yc_op,
    n: usize,
    stride: usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle_of("yc_batch", cache, err, |handle, cache| {
            // A publication in memory makes a system call that is a cancellation point.
            let _uncancelled = Uncancelled::begin();
            run_batch(handle, cache, (ops, n, stride), |requests| Ok(wait(|context| cache.batch(context, requests))))
        })
    }
}

/// A token with which any thread cancels a call of yc_batch_cancellable().
pub struct yc_cancel_token(CancelToken);

/// Creates a token. The caller frees it with yc_cancel_token_free().
#[unsafe(no_mangle)]
pub extern "C" fn yc_cancel_token_new() -> *mut yc_cancel_token {
    Box::into_raw(Box::new(yc_cancel_token(CancelToken::default())))
}

/// Cancels the call that uses a token, and every later call with it. Does not
/// wait for the call. Any thread may call it at any time; NULL has no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_cancel_token_cancel(token: *const yc_cancel_token) {
    // SAFETY: the caller hands NULL or a live token of ours.
    if let Some(token) = unsafe { token.as_ref() } {
        token.0.cancel();
    }
}

/// Frees a token. No call may be using it. NULL has no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_cancel_token_free(token: *mut yc_cancel_token) {
    // SAFETY: the caller's token, handed on.
    unsafe { boundary::free(token) }
}

/// Runs n operations as yc_batch() does, until another thread cancels the token
/// with yc_cancel_token_cancel(). A call that waits for a server or for the load
/// of another caller ends within about 10 ms then. Operations that the memory
/// backend executes are not interrupted. One call at a time uses a token.
///
/// Returns, in addition to the statuses of yc_batch():
/// - YC_E_CANCELLED: the token was cancelled before or during the call. The
///   server may have executed some of the operations. The fields of the
///   operations are not written; leases that were taken are abandoned.
/// - YC_E_INVALID: token is NULL, or another call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_batch_cancellable(
    cache: *mut yc_cache,
    ops: *mut yc_op,
    n: usize,
    stride: usize,
    token: *const yc_cancel_token,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle_of("yc_batch_cancellable", cache, err, |handle, cache| {
            let token = token.as_ref().ok_or_else(|| null("token"))?;
            run_batch(handle, cache, (ops, n, stride), |requests| {
                wait_cancellable(&token.0, |context| cache.batch(context, requests))
            })
        })
    }
}

/// Reads the operations of the caller, runs them, and writes their results.
unsafe fn run_batch(
    handle: &Arc<CacheHandle>,
    cache: &Cache,
    (ops, n, stride): (*mut yc_op, usize, usize),
    run: impl FnOnce(Vec<Result<Request<'_>>>) -> Result<Vec<Result<Outcome>>>,
) -> Result<yc_status> {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        let places = places(ops, n, stride, "ops", "sizeof(yc_op)")?;
        allocation::check(n.saturating_mul(OUTCOME))?;
        let places: Vec<*mut yc_op> = places.collect();
        let lists: Vec<Result<Vec<&[u8]>>> = places.iter().map(|op| list_of(*op)).collect();
        let requests: Vec<_> = places.iter().zip(&lists).map(|(op, list)| read(handle, cache, *op, list)).collect();
        let spans = if cache.is_traced() { begin_spans(cache, &places, &requests) } else { Vec::new() };
        let outcomes = run(requests)?;
        for (span, outcome) in spans.into_iter().zip(&outcomes) {
            if let Some(span) = span {
                span.end(cache, outcome);
            }
        }
        places.into_iter().zip(outcomes).for_each(|(op, outcome)| write(op, outcome, handle));
        Ok(YC_OK)
    }
}

/// Begins the spans of the operations that are sampled.
#[cold]
unsafe fn begin_spans(cache: &Cache, places: &[*mut yc_op], requests: &[Result<Request<'_>>]) -> Vec<Option<Span>> {
    let begin = |(op, request): (&*mut yc_op, &Result<Request<'_>>)| {
        // SAFETY: one of the caller's operations, found by `places`.
        let (kind, user_data) = unsafe { ((**op).kind, (**op).user_data) };
        cache.begin_request(kind, user_data, request.as_ref().ok()?)
    };
    places.iter().zip(requests).map(begin).collect()
}

/// Returns the addresses of n plain structs. `size` names the stride that is required, for the message.
pub(super) unsafe fn places<T>(
    first: *mut T,
    n: usize,
    stride: usize,
    name: &str,
    size: &str,
) -> Result<impl Iterator<Item = *mut T>> {
    if stride < size_of::<T>() || !stride.is_multiple_of(align_of::<T>()) {
        return Err(Error::new(ErrorKind::Invalid, format!("stride is {stride}; it must be {size}")));
    }
    // SAFETY: the caller promises n structs of stride bytes; checks NULL and the length in bytes.
    unsafe { array(first.cast::<u8>(), n.saturating_mul(stride), name) }?;
    Ok((0..n).map(move |at| first.wrapping_byte_add(at * stride)))
}

/// Reads the list of an operation: its tags, or its one pattern.
pub(super) unsafe fn list_of<'a>(op: *const yc_op) -> Result<Vec<&'a [u8]>> {
    // SAFETY: one of the caller's operations, found by `places`.
    unsafe {
        match (*op).kind {
            YC_OP_INVALIDATE_PATTERN => Ok(vec![bytes((*op).key, (*op).key_len, "key")?]),
            YC_OP_GET_OR_LEASE => lease_tags(struct_of(op)?),
            YC_OP_LEASE_FILL => fill_tags(struct_of(op)?),
            YC_OP_LEASE_ABANDON => Ok(Vec::new()),
            _ => slices((*op).tags, (*op).n_tags, "tags"),
        }
    }
}

/// Returns the struct that an operation points to, or NULL.
unsafe fn struct_of<T>(op: *const yc_op) -> Result<*const T> {
    // SAFETY: one of the caller's operations, found by `places`.
    let (pointer, len) = unsafe { ((*op).value, (*op).value_len) };
    if pointer.is_null() || len >= size_of::<T>() && pointer.cast::<T>().is_aligned() {
        return Ok(pointer.cast());
    }
    let text = format!("value_len is {len}; value must point to the struct of this kind, with its size in value_len");
    Err(Error::new(ErrorKind::Invalid, text))
}

/// The longest time limit of an operation: a day.
const LONGEST_TIMEOUT_MS: u64 = 24 * 3_600_000;

/// Reads an operation, whose list was read before.
pub(super) unsafe fn read<'a>(
    handle: &Arc<CacheHandle>,
    cache: &Cache,
    op: *const yc_op,
    list: &'a Result<Vec<&'a [u8]>>,
) -> Result<Request<'a>> {
    // SAFETY: one of the caller's operations, found by `places`.
    let (request, timeout_ms) = unsafe { (read_request(handle, cache, op, list)?, (*op).timeout_ms) };
    let limit = Duration::from_millis(timeout_ms);
    match request {
        request if timeout_ms == 0 => Ok(request),
        _ if timeout_ms > LONGEST_TIMEOUT_MS => Err(Error::new(
            ErrorKind::Invalid,
            format!("timeout_ms is {timeout_ms}; it must be 0 to {LONGEST_TIMEOUT_MS} (a day)"),
        )),
        Request::Store(operation) => Ok(Request::Limited { operation, is_fresh: false, limit }),
        Request::Fresh(operation) => Ok(Request::Limited { operation, is_fresh: true, limit }),
        _ => Err(Error::new(ErrorKind::Invalid, "timeout_ms has no place in a report or a dry run: set it to 0")),
    }
}

unsafe fn read_request<'a>(
    handle: &Arc<CacheHandle>,
    cache: &Cache,
    op: *const yc_op,
    list: &'a Result<Vec<&'a [u8]>>,
) -> Result<Request<'a>> {
    // SAFETY: one of the caller's operations, found by `places`; only what the caller fills is read.
    let (kind, flags, ttl_ms, key, value) = unsafe {
        let key = bytes((*op).key, (*op).key_len, "key")?;
        ((*op).kind, (*op).flags, (*op).ttl_ms, key, bytes((*op).value, (*op).value_len, "value")?)
    };
    // SAFETY: as above.
    let (condition, version, delta, initial) = unsafe { ((*op).condition, (*op).version, (*op).number, (*op).initial) };
    let list: &[&[u8]] = list.as_ref().map_err(Clone::clone)?;
    let (count, is_idempotent) = (flags & YC_OP_COUNT != 0, flags & YC_OP_IDEMPOTENT != 0);
    let (known, name) = match kind {
        YC_OP_REDIS_COMMAND => (YC_OP_IDEMPOTENT, "YC_OP_IDEMPOTENT"),
        YC_OP_GET | YC_OP_GET_OR_LEASE => (YC_OP_FRESH | YC_OP_COUNT, "YC_OP_FRESH"),
        YC_OP_INVALIDATE_TAGS | YC_OP_INVALIDATE_PATTERN | YC_OP_CLEAR | YC_OP_FLUSH => {
            (YC_OP_COUNT | YC_OP_DRY_RUN, "YC_OP_COUNT or YC_OP_DRY_RUN")
        }
        _ => (YC_OP_COUNT, "YC_OP_COUNT"),
    };
    if flags & !known != 0 {
        return Err(Error::new(ErrorKind::Invalid, format!("flags is {flags}; it must be 0 or {name}")));
    }
    let request = match flags & (YC_OP_FRESH | YC_OP_DRY_RUN) {
        YC_OP_FRESH => Request::Fresh,
        YC_OP_DRY_RUN => Request::DryRun,
        _ => Request::Store,
    };
    let ttl = || Ttl::from_millis(ttl_ms).map(|ttl| cache.resolve(ttl));
    Ok(request(match kind {
        YC_OP_GET => Operation::Get { key },
        YC_OP_SET => Operation::Set(NewEntry { key, value, ttl: ttl()?, tags: list }),
        YC_OP_DELETE => Operation::Delete { key },
        YC_OP_EXISTS => Operation::Exists { key },
        YC_OP_EXPIRE => Operation::Expire { key, ttl: ttl()? },
        YC_OP_TTL => Operation::Ttl { key },
        YC_OP_INVALIDATE_TAGS => Operation::InvalidateTags { tags: list, count },
        YC_OP_INVALIDATE_PATTERN => Operation::InvalidatePatterns { patterns: list, mode: PatternMode::Walk },
        YC_OP_CLEAR => Operation::Clear { count },
        YC_OP_FLUSH => Operation::Flush { count },
        YC_OP_PING => Operation::Ping,
        // SAFETY: as above.
        YC_OP_GET_OR_LEASE => unsafe {
            Operation::GetOrLease { key, options: lease_options(cache, struct_of(op)?, list)? }
        },
        // SAFETY: as above.
        YC_OP_LEASE_FILL => unsafe {
            let fill = read_fill(cache, struct_of(op)?, list)?;
            Operation::LeaseFill { lease: yc_lease::of_op((*op).lease, handle)?, fill }
        },
        // SAFETY: as above.
        YC_OP_LEASE_ABANDON => unsafe {
            let retry_after = Cache::retry_after(ttl_ms)?;
            Operation::LeaseAbandon { lease: yc_lease::of_op((*op).lease, handle)?, retry_after }
        },
        YC_OP_STATS => return Ok(Request::Stats),
        YC_OP_HEALTH => return Ok(Request::Health),
        YC_OP_METRICS => return Ok(Request::Metrics),
        YC_OP_EXPLAIN => return Ok(Request::Explain { key, tags: list }),
        YC_OP_GET_VERSIONED => Operation::GetVersioned { key },
        YC_OP_SET_IF => {
            let condition = set_condition(condition, version)?;
            Operation::SetIf { entry: NewEntry { key, value, ttl: ttl()?, tags: list }, condition }
        }
        YC_OP_DELETE_IF => Operation::DeleteIf { key, version },
        YC_OP_GET_AND_EXPIRE => Operation::GetAndExpire { key, ttl: ttl()? },
        YC_OP_COUNTER_ADD => Operation::CounterAdd(Addition { key, delta, initial, ttl: ttl()?, tags: &[] }),
        YC_OP_REDIS_COMMAND => Operation::Command(command(list, delta, is_idempotent)?),
        YC_OP_PUBLISH => Operation::Publish { channel: key, message: value },
        YC_OP_GET_INFO => Operation::GetInfo { key, max_age: max_age(delta)? },
        _ => {
            let text = format!(
                "kind is {kind}; it takes YC_OP_GET ({YC_OP_GET}) to YC_OP_METRICS ({YC_OP_METRICS}), YC_OP_GET_VERSIONED ({YC_OP_GET_VERSIONED}) to YC_OP_PUBLISH ({YC_OP_PUBLISH}), YC_OP_GET_INFO ({YC_OP_GET_INFO}), or YC_OP_CLEAR ({YC_OP_CLEAR})"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
    }))
}

/// Writes the result of an operation.
unsafe fn write(op: *mut yc_op, outcome: Result<Outcome>, handle: &Arc<CacheHandle>) {
    let came = yc_completion::of(outcome, handle);
    // SAFETY: one of the caller's operations, found by `places`; only what the header says is written.
    unsafe {
        (*op).status = came.status;
        (*op).result = came.result;
        (*op).error = came.error;
        (*op).remaining_ms = came.remaining_ms;
        (*op).removed = came.removed;
        (*op).version = came.version;
        // The key_index of a command stays: the operation can be run again.
        if (*op).kind != YC_OP_REDIS_COMMAND {
            (*op).number = came.number;
        }
        (*op).tag_count = came.tag_count;
        (*op).reply = came.reply;
        if (*op).kind == YC_OP_GET_OR_LEASE {
            (*op).lease = came.lease;
        }
    }
}
