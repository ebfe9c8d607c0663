//! The dependency rules, held by reading the sources: who may use whom, and where unsafe code may be.

#![allow(clippy::unwrap_used)]

mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The path below `src`, and the code without comments and tests.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (name, code.join("\n"))
    };
    sources(&root)
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.ends_with("oracle.rs"))
        .map(read)
        .collect()
}

/// Each file under one of these names has none of these words.
fn refuse(folders: &[&str], words: &[&str]) {
    let files: Vec<_> =
        code().into_iter().filter(|(name, _)| folders.iter().any(|start| name.starts_with(start))).collect();
    assert!(!files.is_empty(), "{folders:?} names no file");
    for (name, code) in files {
        for word in words {
            assert!(!code.contains(word), "{name} uses {word}");
        }
    }
}

/// The file of a module is next to that of its parent, or in a folder of the parent's name.
#[test]
fn every_file_is_a_module_of_another() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (name, folder) = match stem {
            "lib" | "main" => continue,
            "mod" => (path.parent().unwrap().file_name().unwrap().to_str().unwrap(), path.ancestors().nth(2).unwrap()),
            name => (name, path.parent().unwrap()),
        };
        let parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| folder.join(parent));
        let declares = |parent: &PathBuf| {
            let text = fs::read_to_string(parent).unwrap_or_default();
            text.lines().any(|line| line.trim().ends_with(&format!("mod {name};")))
        };
        let is_declared = parents.iter().any(declares) || declares(&folder.with_extension("rs"));
        assert!(is_declared, "{} is not part of the library: no module declares it", path.display());
    }
}

#[test]
fn unsafe_code_is_in_ffi_only() {
    for (name, code) in code().iter().filter(|(name, _)| !name.starts_with("ffi/")) {
        assert!(!code.contains("unsafe"), "{name}");
    }
}

#[test]
fn no_module_uses_ffi() {
    for (name, code) in code().iter().filter(|(name, _)| !name.starts_with("ffi/")) {
        assert!(!code.contains("crate::ffi"), "{name}");
    }
}

#[test]
fn only_ffi_waits() {
    for (name, code) in code().iter().filter(|(name, _)| !name.starts_with("ffi/") && *name != "exec/blocking.rs") {
        assert!(!code.contains("crate::exec::blocking") && !code.contains("CallContext::thread"), "{name}");
    }
}

#[test]
fn only_net_blocks_the_thread_it_is_polled_on() {
    for (name, code) in code().iter().filter(|(name, _)| {
        !["ffi/", "net/", "exec/blocking.rs", "exec/context.rs"].iter().any(|it| name.starts_with(it))
    }) {
        assert!(!code.contains("may_block") && !code.contains("thread::park"), "{name}");
    }
}

#[test]
fn net_knows_no_protocol_and_no_backend() {
    refuse(&["net/"], &["crate::backend", "crate::cache", "crate::entry"]);
}

#[test]
fn the_code_of_all_shared_stores_knows_none_of_them() {
    refuse(&["backend/remote/", "backend/near/"], &["redis", "memcached"]);
}

#[test]
fn a_backend_knows_neither_the_cache_nor_globs_nor_search() {
    refuse(&["backend/"], &["crate::cache", "crate::layer", "crate::fuzzy", "crate::ttl"]);
    // The trait that they implement knows globs.
    refuse(&["backend/memory", "backend/remote", "backend/redis", "backend/memcached"], &["crate::util::glob"]);
}

#[test]
fn a_queue_knows_the_cache_and_the_runtime_and_no_backend() {
    refuse(&["queue/"], &["crate::backend"]);
    refuse(&["exec/", "util/"], &["crate::backend", "crate::cache", "crate::queue"]);
}

#[test]
fn the_cache_never_asks_for_a_backend_by_name() {
    refuse(&["cache/"], &["backend::memory", "Memory"]);
}

#[test]
fn pure_modules_use_nothing_of_ours_but_errors() {
    refuse(
        &["util/", "entry.rs", "key.rs", "fuzzy/", "operation.rs"],
        &["crate::backend", "crate::cache", "crate::config"],
    );
}

#[test]
fn every_export_goes_through_the_boundary_or_cannot_panic() {
    // Constant texts, and reads of what the handle holds: nothing there can fail.
    let infallible = [
        "yc_version",
        "yc_status_name",
        "yc_error_status",
        "yc_error_message",
        "yc_error_retryable",
        "yc_value_data",
        "yc_value_tag",
        "yc_value_clone",
        "yc_value_free",
        "yc_keys_data",
        "yc_matches_count",
        "yc_matches_at",
        "yc_results_statuses",
        "yc_results_values",
        "yc_reply_kind",
        "yc_reply_string",
        "yc_reply_integer",
        "yc_reply_count",
        "yc_reply_at",
        "yc_message_channel",
        "yc_message_data",
        "yc_message_lost",
        "yc_event_kind",
        "yc_event_name",
        "yc_event_origin",
        "yc_event_sequence",
        "yc_event_time_ms",
        "yc_event_is_own",
        "yc_event_lost",
        "yc_cancel_token_new",
        "yc_cancel_token_cancel",
    ];
    let mut exports = 0;
    for (name, code) in code().iter().filter(|(name, _)| name.starts_with("ffi/")) {
        for export in code.split("#[unsafe(no_mangle)]").skip(1) {
            let function = export.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap();
            let body = export.split("\n}\n").next().unwrap();
            let bounded = [
                "boundary::call",
                "boundary::free",
                "with_cache",
                "with_open_handle",
                "with_handle",
                "with_queue",
                "with_subscription",
                "with_events",
                "with_lease",
                "open(\"",
                "check(\"",
                "many(\"",
                "keys(\"",
            ]
            .iter()
            .any(|word| body.contains(word));
            assert!(bounded || infallible.contains(&function), "{function} in {name} has no boundary");
            exports += 1;
        }
    }
    assert!(exports > 40, "{exports}");
}

/// Inside these folders too no file may import another one that imports it.
const WITHOUT_CYCLES: [&str; 4] = ["backend/memcached/", "backend/near/", "backend/redis/", "config/"];

/// Cycles of files in different folders, and cycles inside some folders.
#[test]
fn files_do_not_import_each_other() {
    let graph = imports::graph(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let faults: Vec<String> = imports::circles(&graph)
        .iter()
        .filter(|circle| is_refused(circle))
        .map(|circle| format!("a cycle: {}\n  among {circle:?}", imports::example(&graph, circle)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Files of different folders, or of a folder without cycles.
fn is_refused(circle: &BTreeSet<&str>) -> bool {
    let folders: BTreeSet<_> = circle.iter().map(|file| Path::new(file).parent()).collect();
    folders.len() > 1 || circle.iter().any(|file| WITHOUT_CYCLES.iter().any(|folder| file.starts_with(folder)))
}
