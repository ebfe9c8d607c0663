//! The host's data for a callback, which is finalised after the last call.

use std::ffi::c_void;

/// Frees user_data. The library calls the function once, when it does not use
/// user_data any more.
pub type yc_finalise_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The host's data. Dropping it calls the finaliser.
pub(super) struct UserData {
    pointer: *mut c_void,
    finalise: yc_finalise_fn,
}

// SAFETY: the header asks for data that any thread may use.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub(super) fn new(pointer: *mut c_void, finalise: yc_finalise_fn) -> Self {
        Self { pointer, finalise }
    }

    pub(super) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(finalise) = self.finalise {
            // SAFETY: the host's own function with the host's own data, once.
            unsafe { finalise(self.pointer) };
        }
    }
}
