//! Defers the cancellation (`pthread_cancel`) of a thread inside a call until the call returns.
//!
//! A cancellation would unwind through frames of Rust, which ends the process. Calls that the memory backend answers
//! reach no cancellation point, and have no cost here.

use std::ffi::c_int;
use std::marker::PhantomData;

use futures_util::future::Either;

use crate::backend::OpFuture;
use crate::cache::Cache;
use crate::error::Result;

#[cfg(target_vendor = "apple")]
const DISABLE: c_int = 0;
#[cfg(not(target_vendor = "apple"))]
const DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// Defers the cancellation of its thread while it exists.
pub(super) struct Uncancelled {
    before: c_int,
    /// The guard belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Uncancelled {
    pub(super) fn begin() -> Self {
        let mut before = DISABLE;
        // SAFETY: the function changes the calling thread alone, and writes to a variable of ours.
        unsafe { pthread_setcancelstate(DISABLE, &raw mut before) };
        Self { before, _not_send: PhantomData }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let mut ours = DISABLE;
        // SAFETY: as above; the thread is the same, as the guard is not Send.
        unsafe { pthread_setcancelstate(self.before, &raw mut ours) };
    }
}

/// Returns the result of a backend, and waits for it if necessary.
#[inline]
pub(super) fn answer<T>(reply: OpFuture<'_, T>) -> Result<T> {
    match reply {
        Either::Left(ready) => ready.into_inner(),
        on_its_way => {
            let _uncancelled = Uncancelled::begin();
            crate::exec::blocking::answer(on_its_way)
        }
    }
}

/// Runs an operation of a cache to its end.
#[inline]
pub(super) fn wait<F: Future>(cache: &Cache, operation: F) -> F::Output {
    let _uncancelled = (!cache.answers_at_once()).then(Uncancelled::begin);
    crate::exec::blocking::wait(operation)
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
