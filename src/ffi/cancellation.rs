//! A thread that is cancelled (`pthread_cancel`) inside a call: the cancellation waits until the call returns.
//!
//! It would unwind through frames of Rust, which ends the process. Calls that memory answers meet no point of
//! cancellation, and pay nothing here.

use std::ffi::c_int;
use std::marker::PhantomData;

use futures_util::future::Either;

use crate::backend::Reply;
use crate::cache::Cache;
use crate::error::Result;

#[cfg(target_vendor = "apple")]
const DISABLE: c_int = 0;
#[cfg(not(target_vendor = "apple"))]
const DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// While it lives its thread is not cancelled.
pub(super) struct Uncancelled {
    before: c_int,
    /// It belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Uncancelled {
    pub(super) fn begin() -> Self {
        let mut before = DISABLE;
        // SAFETY: it changes the calling thread alone, and writes to a place of ours.
        unsafe { pthread_setcancelstate(DISABLE, &raw mut before) };
        Self { before, _not_send: PhantomData }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let mut ours = DISABLE;
        // SAFETY: as above; of the same thread, as this is not Send.
        unsafe { pthread_setcancelstate(self.before, &raw mut ours) };
    }
}

/// The answer of a backend, waited for if it is not there.
#[inline]
pub(super) fn answer<T>(reply: Reply<'_, T>) -> Result<T> {
    match reply {
        Either::Left(ready) => ready.into_inner(),
        on_its_way => {
            let _uncancelled = Uncancelled::begin();
            crate::wait::answer(on_its_way)
        }
    }
}

/// Drives an operation of a cache to its end.
#[inline]
pub(super) fn wait<F: Future>(cache: &Cache, operation: F) -> F::Output {
    let _uncancelled = (!cache.answers_at_once()).then(Uncancelled::begin);
    crate::wait::wait(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_before_is_restored() {
        let enabled = 1 - DISABLE;
        let outer = Uncancelled::begin();
        let inner = Uncancelled::begin();
        assert_eq!((outer.before, inner.before), (enabled, DISABLE));
        drop(inner);
        drop(outer);
        assert_eq!(Uncancelled::begin().before, enabled);
    }
}
