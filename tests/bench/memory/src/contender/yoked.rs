//! YokedCache through its C ABI: the library this program is linked with, or another build to compare it with.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

use super::{Contender, give_up};
use crate::abi::*;

/// The functions of one build of the library.
#[derive(Clone, Copy)]
pub struct Library {
    open: Open,
    get_into: GetInto,
    get: Get,
    value_free: Free,
    set: Set,
    get_many: GetMany,
    batch: Batch,
    close: unsafe extern "C" fn(*mut c_void),
}

/// The library this program is linked with.
pub static LINKED: Library = Library {
    open: yc_open,
    get_into: yc_get_into,
    get: yc_get,
    // SAFETY: the second word lies in a register that yc_value_free() ignores.
    value_free: unsafe { std::mem::transmute::<ValueFree, Free>(yc_value_free) },
    set: yc_set,
    get_many: yc_get_many,
    batch: yc_batch,
    close: yc_cache_free,
};

/// Ends the program unless the library serves the header it was written for.
pub fn check_abi() {
    // SAFETY: takes any version.
    if unsafe { yc_check_abi(YC_VERSION_NUMBER, null_mut()) } != YC_OK {
        give_up("libyokedcache.so does not serve the header of this benchmark");
    }
}

/// A URL of the memory backend.
pub fn url(max_size: usize, cleanup_interval: &str) -> String {
    format!("memory://?max_size={max_size}&cleanup_interval={cleanup_interval}")
}

impl Library {
    /// Another build, from its file.
    pub fn load(path: &Path) -> Self {
        let path = path.canonicalize().unwrap_or_else(|error| give_up(&format!("{}: {error}", path.display())));
        let name = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path has no NUL");
        // SAFETY: loads a library; DEEPBIND makes its own calls stay in it.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_DEEPBIND) };
        if library.is_null() {
            give_up(&format!("{} cannot be loaded", path.display()));
        }
        // SAFETY: functions of yokedcache.h, of the types it gives them.
        unsafe {
            Self {
                open: std::mem::transmute::<*mut c_void, Open>(symbol(library, c"yc_open")),
                get_into: std::mem::transmute::<*mut c_void, GetInto>(symbol(library, c"yc_get_into")),
                get: std::mem::transmute::<*mut c_void, Get>(symbol(library, c"yc_get")),
                value_free: std::mem::transmute::<*mut c_void, Free>(symbol(library, c"yc_value_free")),
                set: std::mem::transmute::<*mut c_void, Set>(symbol(library, c"yc_set")),
                get_many: std::mem::transmute::<*mut c_void, GetMany>(symbol(library, c"yc_get_many")),
                batch: std::mem::transmute::<*mut c_void, Batch>(symbol(library, c"yc_batch")),
                close: std::mem::transmute::<*mut c_void, ValueFree>(symbol(library, c"yc_cache_free")),
            }
        }
    }

    pub fn contender(&self, url: &str) -> Contender {
        Contender {
            cache: self.open(url),
            get_into: self.get_into,
            get: self.get,
            free: self.value_free,
            set: self.set,
            get_many: self.get_many,
            batch: Some(self.batch),
            settle: None,
            close: self.close,
        }
    }

    fn open(&self, url: &str) -> *mut c_void {
        let (mut cache, mut error) = (null_mut(), null_mut());
        let text = CString::new(url).expect("a URL has no NUL");
        // SAFETY: a C string and two places.
        if unsafe { (self.open)(text.as_ptr(), &raw mut cache, &raw mut error) } != YC_OK {
            give_up(&format!("{url}: {}", message(error)));
        }
        cache
    }
}

fn symbol(library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: a library that is loaded and a C string.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    if found.is_null() {
        give_up(&format!("{name:?} is missing from the library"));
    }
    found
}

/// What an error says.
pub fn message(error: *mut c_void) -> String {
    // SAFETY: NULL or an error of the library.
    let text: *const c_char = if error.is_null() { null() } else { unsafe { yc_error_message(error) } };
    if text.is_null() {
        return "failed without a message".to_owned();
    }
    // SAFETY: NUL-terminated, alive as long as the error, which is never freed here.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
