//! Compiles the C++ peer and links the built YokedCache, which `YOKEDCACHE_LIB_DIR` has.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() {
    println!("cargo:rerun-if-changed=src/contender/lru.cpp");
    cc::Build::new().cpp(true).std("c++20").opt_level(2).file("src/contender/lru.cpp").compile("lru_peer");
    let library = library_dir().join("libyokedcache.so");
    let loaded_from = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    link(&library, &loaded_from).expect("the links to the library");
    println!("cargo:rustc-link-search=native={}", loaded_from.display());
    println!("cargo:rustc-link-lib=dylib=yokedcache");
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{}", loaded_from.display());
}

/// Where the library was built: by default the release folder of the repository's own target.
fn library_dir() -> PathBuf {
    println!("cargo:rerun-if-env-changed=YOKEDCACHE_LIB_DIR");
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/release");
    env::var_os("YOKEDCACHE_LIB_DIR").map_or(default, PathBuf::from)
}

/// The name the linker wants and the soname the loader wants, both leading to the built library.
fn link(library: &Path, folder: &Path) -> io::Result<()> {
    let library = library.canonicalize()?;
    for name in ["libyokedcache.so", "libyokedcache.so.0"] {
        let place = folder.join(name);
        let _ = fs::remove_file(&place);
        std::os::unix::fs::symlink(&library, place)?;
    }
    Ok(())
}
