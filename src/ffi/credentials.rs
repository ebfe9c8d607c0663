//! Credentials that the host supplies while a cache is in use.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::arguments::{UserData, bytes, null, yc_finalise_fn};
use super::boundary;
use super::cache::{with_handle, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use crate::credentials::{CredentialRequest, Credentials, Issuer, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::blocking::wait;

/// A request for credentials. Answer it once, with yc_credentials_give() or
/// yc_credentials_fail(), which free it: in the callback, or later in any thread.
pub struct yc_credentials_request(CredentialRequest);

/// Supplies credentials: answers the request. The library calls the function on a
/// thread of its own, where it may block: before the first connection needs
/// credentials, shortly before they expire, and when a server has refused them.
/// It calls it again only after the request was answered. The function must not
/// call the library with the same cache, throw or call longjmp().
pub type yc_credentials_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, request: *mut yc_credentials_request)>;

struct Callback {
    supply: yc_credentials_fn,
    data: UserData,
}

impl Issuer for Callback {
    fn ask(&self, request: CredentialRequest) {
        let Some(supply) = self.supply else { return };
        let request = Box::into_raw(Box::new(yc_credentials_request(request)));
        // SAFETY: the host's own function with the host's own data; the host answers the request once.
        unsafe { supply(self.data.pointer(), request) };
    }
}

/// Sets the callback that supplies the credentials of a cache, in place of the
/// previous one. The cache needs the option `credentials: callback`, with which
/// yc_open() does not wait for the servers. All connections of the cache log in
/// with the answer, which is kept until shortly before it expires. Then open
/// connections log in again, and no call fails because of that.
///
/// Unless the cache has `connect: lazy`, the function waits for the answer and for
/// the servers, for at most socket_connect_timeout each, and returns the error if
/// they cannot be used. The callback remains set then, and the library tries
/// again. If supply is NULL, no
/// callback is set, and new connections fail. With a view, the function sets the
/// callback of its cache.
///
/// The library calls finalise, which may be NULL, with user_data once, after the
/// last call of supply: when the callback is replaced, when the cache is closed,
/// or before this function returns YC_E_INVALID, YC_E_CLOSED or
/// YC_E_UNSUPPORTED.
///
/// Errors: YC_E_UNSUPPORTED if no server of the cache takes credentials of a
/// callback; YC_E_AUTH if the callback fails or the server refuses; the errors of
/// the servers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_set_credentials(
    cache: *mut yc_cache,
    supply: yc_credentials_fn,
    user_data: *mut c_void,
    finalise: yc_finalise_fn,
    err: *mut *mut yc_error,
) -> yc_status {
    let callback = Callback { supply, data: UserData::new(user_data, finalise) };
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_set_credentials", cache, err, |cache| {
            let issuer = supply.is_some().then(|| Arc::new(callback) as Arc<dyn Issuer>);
            wait(|context| cache.handle.set_credentials(context, issuer)).map(|()| YC_OK)
        })
    }
}

/// Answers a request with credentials. username may be NULL for the default user
/// of Redis. Both texts are UTF-8, and the library copies them. valid_ms is the
/// time from now for which a server accepts them, in milliseconds; 0: they do not
/// expire. A time below 1000 counts as 1000.
///
/// Frees the request, also on failure: the request fails then. Has no effect if
/// the callback was replaced or the cache was closed meanwhile.
///
/// Errors: YC_E_INVALID for a password that is empty, a text that is not UTF-8 or
/// contains NUL, or a negative time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_credentials_give(
    request: *mut yc_credentials_request,
    username: *const c_char,
    username_len: usize,
    password: *const c_char,
    password_len: usize,
    valid_ms: i64,
    err: *mut *mut yc_error,
) -> yc_status {
    let body = || {
        // SAFETY: NULL or a request of ours, which the caller hands over.
        let request = unsafe { take(request) }?;
        // SAFETY: the caller's texts, each checked.
        let given = unsafe { read(username, username_len, password, password_len, valid_ms) };
        match given {
            Ok((credentials, valid)) => request.give(credentials, valid),
            Err(error) => {
                request.fail(error.message());
                return Err(error);
            }
        }
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled("yc_credentials_give", err, body) }
}

/// Answers a request with the reason why there are no credentials: a text of
/// UTF-8, which becomes part of error messages and log lines. It must not contain
/// a secret. Calls that need a new connection return YC_E_AUTH. The library calls
/// the callback again after a pause, half a second at first and at most ten
/// seconds.
///
/// Frees the request. Has no effect if the callback was replaced or the cache was
/// closed meanwhile.
///
/// Errors: YC_E_INVALID if request is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_credentials_fail(
    request: *mut yc_credentials_request,
    reason: *const c_char,
    reason_len: usize,
    err: *mut *mut yc_error,
) -> yc_status {
    let body = || {
        // SAFETY: NULL or a request of ours, which the caller hands over.
        let request = unsafe { take(request) }?;
        // SAFETY: the caller's text, checked.
        let reason = unsafe { bytes(reason.cast(), reason_len, "reason") };
        match reason {
            Ok(reason) => request.fail(&String::from_utf8_lossy(reason)),
            Err(error) => {
                request.fail("it gave no reason");
                return Err(error);
            }
        }
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled("yc_credentials_fail", err, body) }
}

/// Takes a request over.
unsafe fn take(request: *mut yc_credentials_request) -> Result<CredentialRequest> {
    if request.is_null() {
        return Err(null("request"));
    }
    // SAFETY: made by Box::into_raw, and handed over once, as the header asks.
    Ok(unsafe { Box::from_raw(request) }.0)
}

unsafe fn read(
    username: *const c_char,
    username_len: usize,
    password: *const c_char,
    password_len: usize,
    valid_ms: i64,
) -> Result<(Credentials, Option<Duration>)> {
    // SAFETY: the caller's texts, handed on.
    let (username, password) =
        unsafe { (text(username, username_len, "username")?, text(password, password_len, "password")?) };
    if password.is_empty() {
        return Err(invalid("the password is empty"));
    }
    let valid = u64::try_from(valid_ms).map_err(|_| invalid("valid_ms is negative: it must be 0 or more"))?;
    let username = (!username.is_empty()).then(|| username.to_owned());
    let credentials = Credentials { username, password: Secret::new(password) };
    Ok((credentials, (valid != 0).then(|| Duration::from_millis(valid))))
}

/// Returns the caller's text. No message repeats it.
unsafe fn text<'a>(text: *const c_char, len: usize, name: &str) -> Result<&'a str> {
    // SAFETY: the caller's text, handed on.
    let bytes = unsafe { bytes(text.cast(), len, name) }?;
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(invalid(&format!("{name} is not UTF-8, or contains NUL"))),
    }
}

#[cold]
fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::Invalid, text)
}
