//! Checks the language of public text: no banned words, and no headless openings ("Whether it …", "What is …").
//!
//! `CHECKED` lists the paths that must pass. `cargo test --test language -- --nocapture` also prints, for all public
//! text, the share of comments that open with a headless clause.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The files and folders that must pass. Add a path here once its text is rewritten.
const CHECKED: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "include/yokedcache.h",
    "include/yokedcache.hpp",
    "bindings/c/README.md",
    "bindings/go",
    "bindings/go/README.md",
    "bindings/node/README.md",
    "bindings/node/lib/index.d.ts",
    "bindings/node/http",
    "bindings/node/keyv",
    "bindings/node/next",
    "src/guide",
    "src",
];

/// All public text, by topic, for the table of shares.
const TOPICS: &[(&str, &[&str])] = &[
    ("header", &["include/yokedcache.h"]),
    ("C++", &["include/yokedcache.hpp"]),
    ("Rust", &["src"]),
    ("Go", &["bindings/go"]),
    ("Node", &["bindings/node/lib/index.d.ts"]),
    ("guides", &["README.md", "src/guide", "bindings/c/README.md", "bindings/go/README.md", "bindings/node/README.md"]),
];

/// Words that a reader of technical English stumbles over. Each has a plain replacement.
const BANNED: &[(&str, &str)] = &[
    ("nobody", "no process, no other entry, unknown"),
    ("anybody", "any user, any process"),
    ("somebody", "another user, another process"),
    ("anew", "again"),
    ("amid", "during"),
    ("beside", "next to, concurrently, in addition to"),
    ("is told", "receives, is reported to"),
    ("are told", "receive, are reported to"),
    ("told by", "reported by"),
    ("is none", "is not a …, does not exist"),
    ("goes on", "continues"),
    ("went on", "continued"),
    ("came to", "result, outcome, status"),
    ("all the same", "nevertheless"),
    ("became of", "result of, outcome of"),
];

/// The words that open a headless clause.
const HEADLESS: &[&str] = &["What", "Whether", "Where", "Who", "Whom", "Whose", "How", "Which", "When"];

/// A paragraph of prose, with the place that it begins at.
struct Paragraph {
    path: String,
    line: usize,
    text: String,
    /// The paragraph is the first of its comment.
    opens: bool,
    /// The paragraph is a heading, a row of a table or a link, which need no verb.
    title: bool,
}

impl fmt::Display for Paragraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start: String = self.text.chars().take(90).collect();
        write!(f, "{}:{}: {start}", self.path, self.line)
    }
}

impl Paragraph {
    /// Returns true if the paragraph begins with a headless clause: neither a question nor "When …, it …".
    fn is_headless(&self) -> bool {
        let text = self.text.trim_start_matches(|letter: char| !letter.is_alphanumeric());
        let sentence = text.split_inclusive(['.', '?', '!']).next().unwrap_or_default();
        let first = sentence.split(|letter: char| !letter.is_alphabetic()).next().unwrap_or_default();
        let has_main_clause = first == "When" && sentence.contains(',');
        !self.title && HEADLESS.contains(&first) && !sentence.ends_with('?') && !has_main_clause
    }

    /// Returns the banned words of the paragraph, each with its replacement.
    fn banned(&self) -> Vec<&'static (&'static str, &'static str)> {
        let words: String = self
            .text
            .chars()
            .map(|letter| if letter.is_alphanumeric() { letter.to_ascii_lowercase() } else { ' ' })
            .collect();
        let words = format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "));
        let words = words.replace(" there is none ", " ");
        BANNED.iter().filter(|(banned, _)| words.contains(&format!(" {banned} "))).collect()
    }
}

/// Strips the markers of a comment: returns the prose of each line, or None for a line of code.
fn prose<'a>(path: &str, text: &'a str) -> Vec<Option<&'a str>> {
    let mut in_block = false;
    let mut of_line = |line: &'a str| match path.rsplit('.').next().unwrap() {
        "md" => Some(line),
        "rs" => line.trim_start().strip_prefix("///").or_else(|| line.trim_start().strip_prefix("//!")),
        "go" => line.trim_start().strip_prefix("//").filter(|prose| prose.is_empty() || prose.starts_with([' ', '\t'])),
        _ => c_prose(line.trim(), &mut in_block),
    };
    let unspaced = |prose: &'a str| prose.strip_prefix(' ').unwrap_or(prose);
    text.lines().map(|line| if path.ends_with("md") { of_line(line) } else { of_line(line).map(unspaced) }).collect()
}

/// Strips the markers of a comment of C, C++ or TypeScript.
fn c_prose<'a>(line: &'a str, in_block: &mut bool) -> Option<&'a str> {
    if *in_block {
        *in_block = !line.ends_with("*/");
        let prose = line.strip_suffix("*/").unwrap_or(line).trim_end();
        return Some(prose.strip_prefix('*').unwrap_or(prose));
    }
    if let Some(prose) = line.strip_prefix("/*").filter(|prose| !prose.starts_with(" ----")) {
        *in_block = !prose.ends_with("*/");
        return Some(
            prose.trim_start_matches('*').strip_suffix("*/").unwrap_or(prose.trim_start_matches('*')).trim_end(),
        );
    }
    line.strip_prefix("//")
}

/// Returns the paragraphs of the comments of a file. Examples are left out.
fn paragraphs(path: &str, text: &str) -> Vec<Paragraph> {
    let markdown = path.ends_with(".md");
    let (mut all, mut open, mut opens, mut fenced): (Vec<Paragraph>, _, _, _) = (Vec::new(), false, true, false);
    for (number, prose) in prose(path, text).into_iter().enumerate() {
        let Some(prose) = prose else {
            (open, opens, fenced) = (false, true, false);
            continue;
        };
        let words = prose.trim();
        let fence = words.starts_with("```");
        fenced ^= fence;
        let code = !markdown && (prose.starts_with("    ") || prose.starts_with('\t'));
        if words.is_empty() || fence || fenced || code {
            open = false;
            continue;
        }
        let title = words.starts_with(['#', '|', '[']);
        if open && !title && !begins_item(words) {
            let last = all.last_mut().unwrap();
            last.text = format!("{} {words}", last.text);
        } else {
            let text = without_tag(words).to_owned();
            all.push(Paragraph { path: path.to_owned(), line: number + 1, text, opens, title });
        }
        (open, opens) = (!title, false);
    }
    all
}

/// Returns true for the first line of an item of a list, or a tag of TypeScript's comments.
fn begins_item(words: &str) -> bool {
    let number = words.trim_start_matches(|letter: char| letter.is_ascii_digit());
    words.starts_with(['-', '*', '@']) && !words.starts_with("**") || (number != words && number.starts_with(". "))
}

/// Strips `@param name` or another tag from a line.
fn without_tag(words: &str) -> &str {
    let Some(tagged) = words.strip_prefix('@') else { return words };
    let (tag, rest) = tagged.split_once(' ').unwrap_or((tagged, ""));
    if tag == "param" { rest.split_once(' ').map_or("", |(_, rest)| rest) } else { rest }
}

/// Returns the text files of a path that have public comments. Markdown in a folder counts only in the guide.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        let is_document = |entry: &Path| entry.ends_with("guide") || entry.extension().is_some_and(|end| end == "md");
        let is_hidden = |entry: &Path| entry.ends_with("internal") || !path.ends_with("guide") && is_document(entry);
        let wanted = entries.iter().filter(|entry| !is_hidden(entry));
        return wanted.flat_map(|entry| files(entry)).collect();
    }
    let name = path.file_name().unwrap().to_string_lossy();
    let public = [".rs", ".go", ".h", ".hpp", ".md", ".ts"].iter().any(|end| name.ends_with(end));
    let private = name.ends_with("_test.go") || name.ends_with("tests.rs");
    if public && !private && path.exists() { vec![path.to_owned()] } else { Vec::new() }
}

fn text_of(paths: &[&str]) -> Vec<Paragraph> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = paths.iter().flat_map(|path| files(&root.join(path)));
    files
        .flat_map(|file| {
            let name = file.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            paragraphs(&name, &fs::read_to_string(&file).unwrap())
        })
        .collect()
}

#[test]
fn public_text_is_plain() {
    for path in CHECKED {
        assert!(!text_of(&[path]).is_empty(), "{path} has no public text: was it moved?");
    }
    let text = text_of(CHECKED);
    let mut faults = Vec::new();
    for paragraph in &text {
        if paragraph.is_headless() {
            faults.push(format!("{paragraph}\n    begins with a headless clause: start with a verb or the subject"));
        }
        for (banned, instead) in paragraph.banned() {
            faults.push(format!("{paragraph}\n    contains \"{banned}\": write {instead}"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_share_of_headless_openings_is_printed() {
    println!("{:<8} {:>9} {:>9} {:>6} {:>7}", "text", "comments", "headless", "share", "banned");
    for (topic, paths) in TOPICS {
        let text = text_of(paths);
        let comments = text.iter().filter(|paragraph| paragraph.opens || paragraph.path.ends_with(".md"));
        let (all, headless) = comments.fold((0usize, 0usize), |(all, headless), paragraph| {
            (all + 1, headless + usize::from(paragraph.is_headless()))
        });
        let banned: usize = text.iter().map(|paragraph| paragraph.banned().len()).sum();
        let share = 100.0 * headless as f64 / all.max(1) as f64;
        println!("{topic:<8} {all:>9} {headless:>9} {share:>5.1}% {banned:>7}");
    }
}

#[test]
fn the_checks_find_faults() {
    let faults = |path: &str, text: &str| {
        let found = paragraphs(path, text);
        let lines = found.iter().filter(|paragraph| paragraph.is_headless() || !paragraph.banned().is_empty());
        lines.map(|paragraph| paragraph.line).collect::<Vec<_>>()
    };
    let rust = "/// Whether it is\n/// empty.\nfn a() {}\n/// Returns 1.\n///\n/// What is left\n/// stays.\n/// ```\n/// anew\n/// ```\n";
    assert_eq!(faults("a.rs", rust), [1, 6]);
    assert_eq!(
        faults(
            "a.rs",
            "//! # How to build\n//! When it ends, it stops.\n//! - Where is it?\n/// It\n/// goes\n/// on.\n"
        ),
        [3]
    );
    assert_eq!(
        faults("a.h", "/*\n * Who calls.\n *\n */\n// How many bytes.\n//\n//     beside();\n/* What it is. */\n"),
        [2, 5, 8]
    );
    assert_eq!(faults("a.go", "//go:build who\n\n// A is told how.\nfunc A()\n\t// When it ends.\n"), [3, 5]);
    assert_eq!(faults("a.d.ts", "/** Which it is. */\n/**\n * Returns it.\n * @param a Whether it is.\n */\n"), [1, 4]);
    assert_eq!(faults("a.md", "## What it is\n\n[How](x)\n- **Where** it is.\n\n    nobody\n| When |\n"), [4, 6]);
}
