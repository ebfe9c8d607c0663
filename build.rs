//! Linker settings of the shared library that Cargo has no key for, and the pictures of the guide for rustdoc.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={PICTURES}");
    // macOS names a library by its path, and keeps the code of one with thread-local destructors mapped.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libyokedcache.so.0");
        // Threads and thread-local destructors may outlive a dlclose: the code stays mapped.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("pictures.txt"), pictures()?)
}

/// The pictures of the guide's page about performance.
const PICTURES: &str = "src/guide/performance";

/// Returns a Markdown link definition for each picture, which contains the picture: rustdoc copies no files.
fn pictures() -> io::Result<String> {
    if !Path::new(PICTURES).exists() {
        return Ok(String::new());
    }
    let mut files: Vec<PathBuf> = fs::read_dir(PICTURES)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "svg"));
    files.sort();
    let definition = |file: &PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        Ok(format!("[{name}_picture]: data:image/svg+xml,{}\n", encoded(&fs::read(file)?)))
    };
    files.iter().map(definition).collect()
}

/// Writes bytes as a part of a URL.
fn encoded(bytes: &[u8]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/=:;,".contains(&byte);
    bytes.iter().map(|byte| if is_plain(*byte) { char::from(*byte).into() } else { format!("%{byte:02X}") }).collect()
}
