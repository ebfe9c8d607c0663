//! The documents are complete: the README is short, each page is reachable, and each link has a target.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the path and the text of a document.
fn read(name: &str) -> (PathBuf, String) {
    let path = root().join(name);
    (path.clone(), fs::read_to_string(path).unwrap())
}

/// Returns the names of the pages in `src/guide`.
fn pages() -> Vec<String> {
    let files = fs::read_dir(root().join("src/guide")).unwrap().map(|entry| entry.unwrap().file_name());
    files.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".md")).collect()
}

fn documents() -> Vec<(PathBuf, String)> {
    let others = [
        "README.md",
        "CHANGELOG.md",
        "bindings/c/README.md",
        "bindings/go/README.md",
        "bindings/go/gocache/README.md",
        "bindings/go/grpc/README.md",
        "bindings/go/httpcache/README.md",
        "bindings/node/README.md",
        "bindings/node/http/README.md",
        "bindings/node/keyv/README.md",
        "bindings/node/next/README.md",
        "tests/bench/README.md",
        "tests/bench/go/README.md",
        "tests/bench/node/README.md",
        "tests/conformance/README.md",
        "tests/servers/README.md",
    ];
    let pages = pages().into_iter().map(|page| format!("src/guide/{page}"));
    pages.chain(others.map(str::to_owned)).map(|name| read(&name)).collect()
}

/// Returns the targets of the links in a text: `[text](target)` and `[name]: target`. Code has none.
fn links(text: &str) -> Vec<&str> {
    text.split("```").step_by(2).flat_map(|text| text.split('`').step_by(2)).flat_map(links_of_prose).collect()
}

fn links_of_prose(text: &str) -> Vec<&str> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let named = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, target)| target);
    inline.chain(named).collect()
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").1.lines().count() <= 170);
}

#[test]
fn every_page_is_documentation_and_linked_from_the_readme() {
    let (readme, modules, links) = (read("README.md").1, read("src/guide/mod.rs").1, read("src/guide/links.txt").1);
    for page in pages() {
        let name = page.trim_end_matches(".md");
        assert!(readme.contains(&format!("(src/guide/{page})")), "README.md does not link {page}");
        assert!(modules.contains(&format!("{name} \"{page}\"")), "src/guide/mod.rs does not include {page}");
        assert!(
            links.contains(&format!("[{name}]: crate::guide::{name}\n")),
            "src/guide/links.txt does not define {name}"
        );
    }
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for (path, text) in documents() {
        for target in links(&text).into_iter().filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = path.parent().unwrap().join(target.split('#').next().unwrap());
            assert!(file.exists(), "{}: {target}", path.display());
        }
    }
}

#[test]
fn every_named_link_has_its_target() {
    for (path, text) in documents() {
        let names = text.split("][").skip(1).filter_map(|rest| rest.split(']').next());
        for name in names.filter(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')) {
            assert!(name.is_empty() || text.contains(&format!("\n[{name}]: ")), "{}: {name}", path.display());
        }
    }
}
