//! `yc_completion`: the result of an operation.

use std::mem;
use std::ptr::null_mut;
use std::sync::Arc;

use super::boundary;
use super::channel::{yc_message, yc_message_free};
use super::command::{yc_reply, yc_reply_free};
use super::entry::remaining_ms;
use super::error::{YC_END, YC_MISS, YC_OK, YC_SUPERSEDED, YC_UNMET, status_of, yc_error, yc_error_free, yc_status};
use super::events::{yc_event, yc_event_free};
use super::info::age_ms;
use super::invalidate::{YC_COUNT_UNKNOWN, count};
use super::keys::{yc_keys, yc_keys_free};
use super::lease::{status_of_load, yc_lease, yc_lease_free};
use super::results::{yc_results, yc_results_free};
use super::search::{yc_matches, yc_matches_free};
use super::value::{yc_value, yc_value_free};
use crate::cache::CacheHandle;
use crate::error::{Error, Result};
use crate::lease::Loaded;
use crate::operation::Outcome;

/// Kind of completion: yc_queue_get_many(). Not allowed in yc_op.kind.
pub const YC_OP_GET_MANY: i32 = 14;
/// Kind of completion: yc_queue_set_many(). Not allowed in yc_op.kind.
pub const YC_OP_SET_MANY: i32 = 15;
/// Kind of completion: yc_queue_delete_many(). Not allowed in yc_op.kind.
pub const YC_OP_DELETE_MANY: i32 = 16;
/// Kind of completion: yc_queue_keys_next(). Not allowed in yc_op.kind.
pub const YC_OP_KEYS_NEXT: i32 = 17;
/// Kind of completion: yc_queue_search(). Not allowed in yc_op.kind.
pub const YC_OP_SEARCH: i32 = 18;

/// Kind of operation: yc_get_versioned().
pub const YC_OP_GET_VERSIONED: i32 = 19;
/// Kind of operation: yc_set_if().
pub const YC_OP_SET_IF: i32 = 20;
/// Kind of operation: yc_delete_if().
pub const YC_OP_DELETE_IF: i32 = 21;
/// Kind of operation: yc_get_and_expire().
pub const YC_OP_GET_AND_EXPIRE: i32 = 22;
/// Kind of operation: yc_counter_add().
pub const YC_OP_COUNTER_ADD: i32 = 23;

/// Kind of operation: yc_get_or_lease(). The field value points to the
/// yc_lease_options, and value_len is their size; or both are 0. The fields tags
/// and n_tags are not used.
pub const YC_OP_GET_OR_LEASE: i32 = 24;
/// Kind of operation: yc_lease_fill(). The field lease is the lease, value points
/// to the yc_fill, and value_len is its size.
pub const YC_OP_LEASE_FILL: i32 = 25;
/// Kind of operation: yc_lease_abandon(). The field lease is the lease, and ttl_ms
/// is retry_after_ms.
pub const YC_OP_LEASE_ABANDON: i32 = 26;

/// Kind of operation: yc_explain(). The field key is the key, and tags are the
/// names of tags to report by.
pub const YC_OP_EXPLAIN: i32 = 27;

/// Kind of operation: yc_redis_command(). The field tags has the arguments, n_tags
/// is their number, and number is key_index.
pub const YC_OP_REDIS_COMMAND: i32 = 28;

/// Kind of operation: yc_publish(). The field key is the channel, and value is the
/// message. The result is in number.
pub const YC_OP_PUBLISH: i32 = 29;
/// Kind of completion: yc_queue_subscription_next(). Not allowed in yc_op.kind.
pub const YC_OP_SUBSCRIPTION_NEXT: i32 = 30;

/// Kind of completion: yc_queue_events_next(). Not allowed in yc_op.kind.
pub const YC_OP_EVENTS_NEXT: i32 = 31;

/// Kind of operation: yc_get_info(). The field number is max_age_ms. The results
/// are result, version, remaining_ms, age_ms in number, and tag_count.
pub const YC_OP_GET_INFO: i32 = 32;
/// Kind of operation: yc_clear().
pub const YC_OP_CLEAR: i32 = 33;

/// Identifies an operation of a queue until its completion is taken. A ticket is
/// never 0 and is never reused in one queue.
pub type yc_ticket = u64;

/// The completion of an operation of a queue. The caller owns the handles in it:
/// free each of them, or all with yc_completion_clear().
#[repr(C)]
pub struct yc_completion {
    /// The ticket of the operation.
    pub ticket: yc_ticket,
    /// The user_data of the operation, unchanged.
    pub user_data: u64,
    /// The status that the function of this kind returns, or YC_E_CANCELLED,
    /// YC_E_CLOSED, YC_E_PANIC.
    pub status: yc_status,
    /// Kind of the operation: a YC_OP_ number.
    pub kind: i32,
    /// The value of a YC_OP_GET, YC_OP_GET_VERSIONED, YC_OP_GET_INFO or
    /// YC_OP_GET_AND_EXPIRE with status YC_OK or of a YC_OP_GET_OR_LEASE, or the text of a YC_OP_STATS,
    /// YC_OP_HEALTH, YC_OP_METRICS or YC_OP_EXPLAIN; else NULL. The caller frees it
    /// with yc_value_free().
    pub result: *mut yc_value,
    /// The error if status is negative, else NULL. The caller frees it with
    /// yc_error_free().
    pub error: *mut yc_error,
    /// The result of YC_OP_TTL and YC_OP_GET_INFO: the remaining time in
    /// milliseconds, or -1 if the entry never expires; else 0.
    pub remaining_ms: i64,
    /// The number of removed entries, or YC_COUNT_UNKNOWN. With YC_OP_DRY_RUN the
    /// number of those that would be removed.
    pub removed: u64,
    /// The results of an operation on many keys, else NULL. The caller frees them
    /// with yc_results_free().
    pub results: *mut yc_results,
    /// The page of a YC_OP_KEYS_NEXT with status YC_OK, else NULL. The caller
    /// frees it with yc_keys_free().
    pub keys: *mut yc_keys,
    /// The matches of a YC_OP_SEARCH, else NULL. The caller frees them with
    /// yc_matches_free().
    pub matches: *mut yc_matches,
    /// The version of a YC_OP_GET_VERSIONED or YC_OP_GET_INFO, or of the entry that a
    /// YC_OP_SET_IF has stored; else 0.
    pub version: u64,
    /// The value of the counter of a YC_OP_COUNTER_ADD, the number of subscriptions
    /// that a YC_OP_PUBLISH was sent to, -1 if it is unknown, or the age_ms of a
    /// YC_OP_GET_INFO; else 0.
    pub number: i64,
    /// The lease of a YC_OP_GET_OR_LEASE, if the caller must load the value, else
    /// NULL. The caller frees it with yc_lease_free().
    pub lease: *mut yc_lease,
    /// The reply to a YC_OP_REDIS_COMMAND with status YC_OK; else NULL. The caller
    /// frees it with yc_reply_free().
    pub reply: *mut yc_reply,
    /// The message of a YC_OP_SUBSCRIPTION_NEXT with status YC_OK; else NULL. The
    /// caller frees it with yc_message_free().
    pub message: *mut yc_message,
    /// The event of a YC_OP_EVENTS_NEXT with status YC_OK; else NULL. The caller
    /// frees it with yc_event_free().
    pub event: *mut yc_event,
    /// The number of tags of the entry of a YC_OP_GET_INFO; else 0.
    pub tag_count: u64,
}

impl yc_completion {
    const NOTHING: Self = Self {
        ticket: 0,
        user_data: 0,
        status: YC_OK,
        kind: 0,
        result: null_mut(),
        error: null_mut(),
        remaining_ms: 0,
        removed: YC_COUNT_UNKNOWN,
        results: null_mut(),
        keys: null_mut(),
        matches: null_mut(),
        version: 0,
        number: 0,
        lease: null_mut(),
        reply: null_mut(),
        message: null_mut(),
        event: null_mut(),
        tag_count: 0,
    };

    /// Converts an outcome to a completion with handles that the caller owns.
    pub(super) fn of(outcome: Result<Outcome>, handle: &Arc<CacheHandle>) -> Self {
        match outcome {
            Ok(Outcome::Done) => Self::NOTHING,
            Ok(Outcome::Miss) => Self { status: YC_MISS, ..Self::NOTHING },
            Ok(Outcome::Unmet) => Self { status: YC_UNMET, ..Self::NOTHING },
            Ok(Outcome::Versioned(value, version)) => {
                Self { result: yc_value::into_raw(value), version, ..Self::NOTHING }
            }
            Ok(Outcome::Info(info)) => Self {
                version: info.version,
                remaining_ms: remaining_ms(info.left),
                number: age_ms(info.age),
                tag_count: info.tags,
                result: yc_value::into_raw(info.named_value()),
                ..Self::NOTHING
            },
            Ok(Outcome::Version(version)) => Self { version, ..Self::NOTHING },
            Ok(Outcome::Number(number)) => Self { number, ..Self::NOTHING },
            Ok(Outcome::Value(value)) => Self { result: yc_value::into_raw(value), ..Self::NOTHING },
            Ok(Outcome::Remaining(left)) => Self { remaining_ms: remaining_ms(left), ..Self::NOTHING },
            Ok(Outcome::Removed(removed)) => Self { removed: count(removed), ..Self::NOTHING },
            Ok(many @ (Outcome::Values(_) | Outcome::Stored(_) | Outcome::Deleted(_))) => {
                Self::many(yc_results::into_raw(many))
            }
            // No kind of a queue or a batch asks for it.
            Ok(Outcome::Usage(_) | Outcome::Explanation(_)) => Self::NOTHING,
            Ok(Outcome::Keys(keys)) if keys.is_empty() => Self { status: YC_END, ..Self::NOTHING },
            Ok(Outcome::Keys(keys)) => Self { keys: yc_keys::into_raw(*keys), ..Self::NOTHING },
            Ok(Outcome::Matches(found)) => Self { matches: yc_matches::into_raw(found), ..Self::NOTHING },
            Ok(Outcome::Loaded(Loaded { value, state, lease, .. })) => Self {
                status: status_of_load(state),
                result: value.map_or(null_mut(), yc_value::into_raw),
                lease: yc_lease::into_raw(lease, handle),
                ..Self::NOTHING
            },
            Ok(Outcome::Reply(reply)) => Self { reply: yc_reply::into_raw(reply), ..Self::NOTHING },
            Ok(Outcome::Received(number)) => {
                let number = number.map_or(-1, |number| i64::try_from(number).unwrap_or(i64::MAX));
                Self { number, ..Self::NOTHING }
            }
            Ok(Outcome::Message(taken)) => Self { message: yc_message::into_raw(taken.arrive()), ..Self::NOTHING },
            Ok(Outcome::Event(taken)) => Self { event: yc_event::into_raw(taken.arrive()), ..Self::NOTHING },
            Ok(Outcome::Superseded) => Self { status: YC_SUPERSEDED, ..Self::NOTHING },
            Err(failure) => Self::failed(&failure),
        }
    }

    fn failed(failure: &Error) -> Self {
        Self { status: status_of(failure.kind()), error: yc_error::into_raw(failure), ..Self::NOTHING }
    }

    /// Completes many keys. As in the blocking function, the first failure of a key is the failure of the whole.
    fn many((results, failure): (*mut yc_results, Option<Error>)) -> Self {
        let whole = failure.map_or(Self::NOTHING, |failure| Self::failed(&failure));
        Self { results, ..whole }
    }

    unsafe fn clear(&mut self) {
        // SAFETY: the caller hands what the library wrote: each is NULL or the caller's to release.
        unsafe {
            yc_value_free(mem::replace(&mut self.result, null_mut()));
            yc_error_free(mem::replace(&mut self.error, null_mut()));
            yc_results_free(mem::replace(&mut self.results, null_mut()));
            yc_keys_free(mem::replace(&mut self.keys, null_mut()));
            yc_matches_free(mem::replace(&mut self.matches, null_mut()));
            yc_lease_free(mem::replace(&mut self.lease, null_mut()));
            yc_reply_free(mem::replace(&mut self.reply, null_mut()));
            yc_message_free(mem::replace(&mut self.message, null_mut()));
            yc_event_free(mem::replace(&mut self.event, null_mut()));
        }
    }
}

/// Frees the handles of a completion and sets them to NULL. To keep a handle, set
/// its field to NULL before the call. The completion itself belongs to the
/// caller. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_completion_clear(completion: *mut yc_completion) {
    let body = || {
        // SAFETY: the caller hands NULL or a completion that the library wrote.
        if let Some(completion) = unsafe { completion.as_mut() } {
            // SAFETY: as above.
            unsafe { completion.clear() };
        }
        Ok(YC_OK)
    };
    // SAFETY: no place for an error.
    unsafe { boundary::call("yc_completion_clear", null_mut(), body) };
}
