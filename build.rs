//! Linker settings of the shared library that Cargo has no key for.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libyokedcache.so.0");
    // Threads and thread-local destructors may outlive a dlclose: the code stays mapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
