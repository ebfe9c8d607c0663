//! Commands of Redis, and their replies.

use std::ffi::c_void;
use std::ptr::null;

use super::arguments::{bytes, out, pointer_to, slices, yc_slice};
use super::boundary;
use super::cache::{with_cache, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use super::trace::call;
use super::value::yc_value;
use crate::command::{Command, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Operation, Outcome};
use crate::value::Value;

/// The key_index of a command without a key.
pub const YC_NO_KEY: i32 = -1;

/// Kind of a reply: no value.
pub const YC_REPLY_NIL: i32 = 0;
/// Kind of a reply: bytes, see yc_reply_string().
pub const YC_REPLY_STRING: i32 = 1;
/// Kind of a reply: a short text such as OK, see yc_reply_string().
pub const YC_REPLY_STATUS: i32 = 2;
/// Kind of a reply: a whole number, see yc_reply_integer().
pub const YC_REPLY_INTEGER: i32 = 3;
/// Kind of a reply: an array of replies, see yc_reply_count() and yc_reply_at().
pub const YC_REPLY_ARRAY: i32 = 4;
/// Kind of an element of an array: an error, see yc_reply_string(). An error that
/// is the whole reply is the error of the call.
pub const YC_REPLY_ERROR: i32 = 5;

/// The reply to a command: a tree, since an array has replies. It is immutable:
/// any thread may read it. It remains valid after the cache is freed. The caller
/// frees the reply of a command with yc_reply_free(); the elements belong to it.
pub struct yc_reply {
    _opaque: [u8; 0],
}

impl yc_reply {
    /// Returns a handle that the caller owns.
    pub(super) fn into_raw(reply: Box<Reply>) -> *mut Self {
        Box::into_raw(reply).cast()
    }

    /// Borrows the reply of a handle, or an element of one.
    unsafe fn borrow<'a>(reply: *const Self) -> Option<&'a Reply> {
        // SAFETY: the caller hands NULL, or a live reply of ours or an element of one.
        unsafe { reply.cast::<Reply>().as_ref() }
    }
}

/// Returns the command of the caller's arguments.
pub(super) fn command<'a>(args: &'a [&'a [u8]], key_index: i64, is_idempotent: bool) -> Result<Command<'a>> {
    let key = match key_index {
        -1 => None,
        at => Some(usize::try_from(at).map_err(|_| negative(at))?),
    };
    Ok(Command { args, key, is_idempotent })
}

#[cold]
fn negative(key_index: i64) -> Error {
    Error::new(ErrorKind::Invalid, format!("key_index is {key_index}; it must be YC_NO_KEY (-1) or an index of args"))
}

/// Runs a command of Redis on a connection of the cache, with its deadline
/// (socket_timeout), credentials and TLS. args is the name of the command and its
/// arguments. key_index is the index in args of a key, or YC_NO_KEY: in a cluster,
/// the command goes to the primary of this key; without a key, to a primary that
/// the library chooses.
///
/// The names are not changed: use yc_redis_name() to keep them under key_prefix.
/// The data lies outside the entries of the cache: yc_flush(), invalidations,
/// yc_switch(), yc_migrate() and a fallback do not concern it, and the other
/// backends have nothing like it.
///
/// The library never sends a command twice if the server may have run it. To
/// allow that, set YC_OP_IDEMPOTENT in an operation of yc_batch() or of a queue.
///
/// Returns:
/// - YC_OK: *reply is the reply. The caller frees it with yc_reply_free().
/// - YC_E_INVALID: the command blocks (BLPOP, XREAD with BLOCK) or changes the
///   state of a connection (SELECT, MULTI, SUBSCRIBE); the name is empty, or
///   key_index is not the index of an argument. Nothing was sent.
/// - YC_E_SERVER: the server refused the command; the message has its text.
/// - YC_E_DENIED: the user lacks the permission for the command.
/// - YC_E_TOO_LARGE: an argument, or a string of the reply, is longer than
///   max_value_bytes.
/// - YC_E_TIMEOUT: no reply came; the server may have run the command.
/// - YC_E_UNSUPPORTED: the backend is not Redis, see YC_CAN_COMMAND.
/// - Other errors: see yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_redis_command(
    cache: *mut yc_cache,
    args: *const yc_slice,
    n_args: usize,
    key_index: i32,
    reply: *mut *mut yc_reply,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_redis_command", cache, err, |cache| {
            let (args, place) = (slices(args, n_args, "args")?, out(reply, "reply")?);
            let command = command(&args, key_index.into(), false)?;
            if let Outcome::Reply(reply) = call(cache, Operation::Command(command))? {
                place.write(yc_reply::into_raw(reply));
            }
            Ok(YC_OK)
        })
    }
}

/// Returns the name of a key for yc_redis_command(): under key_prefix, and apart
/// from the names of entries. Equal parts in braces still share a slot of a
/// cluster: {user:1}:queue and {user:1}:log.
///
/// On success *name is the name. The caller frees it with yc_value_free().
///
/// Errors: YC_E_UNSUPPORTED if the backend is not Redis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_redis_name(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    name: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_redis_name", cache, err, |cache| {
            let (key, place) = (bytes(key, key_len, "key")?, out(name, "name")?);
            place.write(yc_value::into_raw(Value::from(&cache.redis_name(key)?[..])));
            Ok(YC_OK)
        })
    }
}

/// Returns the kind of a reply: a YC_REPLY_ number. Returns YC_REPLY_NIL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_reply_kind(reply: *const yc_reply) -> i32 {
    // SAFETY: the caller's reply, handed on.
    match unsafe { yc_reply::borrow(reply) } {
        None | Some(Reply::Nil) => YC_REPLY_NIL,
        Some(Reply::String(_)) => YC_REPLY_STRING,
        Some(Reply::Status(_)) => YC_REPLY_STATUS,
        Some(Reply::Integer(_)) => YC_REPLY_INTEGER,
        Some(Reply::Array(_)) => YC_REPLY_ARRAY,
        Some(Reply::Error(_)) => YC_REPLY_ERROR,
    }
}

/// Returns the bytes of a string, a status or an error and writes their number to
/// *len. len may be NULL. The reply owns the bytes. For another kind, and for
/// NULL, the function returns NULL and writes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_reply_string(reply: *const yc_reply, len: *mut usize) -> *const c_void {
    // SAFETY: the caller's reply, handed on.
    let bytes = match unsafe { yc_reply::borrow(reply) } {
        Some(Reply::String(bytes) | Reply::Status(bytes) | Reply::Error(bytes)) => Some(&bytes[..]),
        _ => None,
    };
    if !len.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { len.write(bytes.map_or(0, <[u8]>::len)) };
    }
    bytes.map_or(null(), pointer_to)
}

/// Returns the number of a reply of the kind YC_REPLY_INTEGER; else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_reply_integer(reply: *const yc_reply) -> i64 {
    // SAFETY: the caller's reply, handed on.
    if let Some(Reply::Integer(number)) = unsafe { yc_reply::borrow(reply) } { *number } else { 0 }
}

/// Returns the number of elements of a reply of the kind YC_REPLY_ARRAY; else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_reply_count(reply: *const yc_reply) -> usize {
    // SAFETY: the caller's reply, handed on.
    if let Some(Reply::Array(elements)) = unsafe { yc_reply::borrow(reply) } { elements.len() } else { 0 }
}

/// Returns an element of a reply of the kind YC_REPLY_ARRAY. It belongs to the
/// reply. Returns NULL if there is no such element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_reply_at(reply: *const yc_reply, index: usize) -> *const yc_reply {
    // SAFETY: the caller's reply, handed on.
    match unsafe { yc_reply::borrow(reply) } {
        Some(Reply::Array(elements)) => elements.get(index).map_or(null(), |element| (&raw const *element).cast()),
        _ => null(),
    }
}

/// Frees the reply of a command with its elements. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_reply_free(reply: *mut yc_reply) {
    // SAFETY: the caller hands NULL or the reply of a command, once.
    unsafe { boundary::free(reply.cast::<Reply>()) }
}
