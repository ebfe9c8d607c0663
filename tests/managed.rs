//! The page on managed services has the profiles that the tests run with. `UPDATE_GUIDE=1 cargo test --test managed` writes
//! its table.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The lines of the page around the generated part.
const BEGIN: &str =
    "<!-- The following table is generated from the profiles: UPDATE_GUIDE=1 cargo test --test managed -->\n\n";
const END: &str = "<!-- The end of the generated part -->\n";

/// The operations that need a capability.
const OPERATIONS: [(&str, &str); 2] = [
    ("list", "listings, patterns, search, flush and size"),
    ("compare", "conditional operations, counters, barriers, leases and loads that share a lease"),
];

fn at_root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The profile of a service: lines of a word and a text.
struct Profile(String);

impl Profile {
    fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    fn only<'a>(&'a self, word: &'a str) -> &'a str {
        let [text] = self.all(word).collect::<Vec<_>>()[..] else { panic!("a profile needs one {word}: {}", self.0) };
        text
    }
}

fn profiles() -> Vec<Profile> {
    let files = fs::read_dir(at_root("tests/servers/managed")).unwrap().map(|file| file.unwrap().path());
    let mut paths: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|it| it == "profile")).collect();
    paths.sort();
    paths.into_iter().map(|path| Profile(fs::read_to_string(path).unwrap())).collect()
}

/// Returns the operations that a service does not support, with the reason.
fn unsupported(profile: &Profile) -> String {
    let lacks = profile.all("lacks").map(|lacks| {
        let (name, reason) = lacks.split_once(' ').unwrap();
        let (_, operations) = OPERATIONS.iter().find(|known| known.0 == name).unwrap();
        format!("{operations}: {reason}")
    });
    let all: Vec<String> = lacks.collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

fn table() -> String {
    let mut table =
        "| service | tested with | unsupported operations, and why | remarks | source |\n|---|---|---|---|---|\n"
            .to_owned();
    for profile in profiles() {
        let notes: Vec<&str> = profile.all("note").collect();
        let (service, server, source) = (profile.only("service"), profile.only("server"), profile.only("source"));
        writeln!(table, "| {service} | {server} | {} | {} | {source} |", unsupported(&profile), notes.join(" "))
            .unwrap();
    }
    table
}

#[test]
fn the_page_has_the_profiles() {
    let path = at_root("src/guide/managed.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (generated, after) = rest.split_once(END).unwrap();
    let expected = format!("{}\n", table());
    if env::var_os("UPDATE_GUIDE").is_some() {
        fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert!(generated == expected, "src/guide/managed.md is outdated: UPDATE_GUIDE=1 cargo test --test managed");
    }
}

/// The numbers of unsupported cases, which the conformance runner checks, have a reason in the table.
#[test]
fn a_service_with_unsupported_cases_lacks_a_capability() {
    assert!(profiles().len() >= 10);
    for profile in profiles() {
        let lacks_compare = profile.all("lacks").any(|lacks| lacks.starts_with("compare "));
        assert_eq!(profile.all("unsupported").next().is_some(), lacks_compare, "{}", profile.only("service"));
    }
}
