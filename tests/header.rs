//! The committed header is what cbindgen makes of `src/ffi`. `UPDATE_HEADER=1 cargo test --test header` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::{env, fs};

/// In the order a reader wants them.
const SOURCES: [&str; 19] = [
    "status",
    "arguments",
    "error",
    "value",
    "version",
    "cache",
    "entry",
    "invalidate",
    "keys",
    "search",
    "many",
    "batch",
    "user_data",
    "results",
    "completion",
    "queue",
    "report",
    "migrate",
    "log",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn generate() -> String {
    let config = cbindgen::Config::from_file(root().join(".cbindgen.toml")).unwrap();
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(root().join(format!("src/ffi/{source}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let (path, header) = (root().join("include/yokedcache.h"), generate());
    if env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &header).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == header,
        "include/yokedcache.h is not what src/ffi says: UPDATE_HEADER=1 cargo test --test header"
    );
}
