//! Holds `include/yokedcache.h` to the declarations of `src/ffi` and compiles its examples and those of the C++ wrapper.
//!
//! cbindgen makes the declarations; `src/ffi/yokedcache.h.in` has the sections that they go into, with introductions and
//! examples. `UPDATE_HEADER=1 cargo test --test header` writes the header.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io::Write as _};

/// The modules of `src/ffi` with declarations. A section has its items in this order, unless the template names them.
const SOURCES: [&str; 26] = [
    "error",
    "arguments",
    "value",
    "version",
    "cache",
    "entry",
    "info",
    "conditional",
    "invalidate",
    "keys",
    "search",
    "many",
    "batch",
    "results",
    "completion",
    "queue",
    "report",
    "migrate",
    "log",
    "trace",
    "lease",
    "command",
    "channel",
    "events",
    "view",
    "credentials",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A declaration with its comment.
struct Item {
    name: String,
    text: String,
}

/// Returns the declarations that cbindgen makes of `src/ffi`.
fn items() -> Vec<Item> {
    let config = cbindgen::Config::from_file(root().join(".cbindgen.toml")).unwrap();
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(root().join(format!("src/ffi/{source}.rs")))
    });
    let mut declarations = Vec::new();
    builder.generate().unwrap().write(&mut declarations);
    let declarations = String::from_utf8(declarations).unwrap();
    let texts = declarations.split("\n\n").map(str::trim).filter(|text| !text.is_empty());
    texts.map(|text| Item { name: name_of(text), text: text.to_owned() }).collect()
}

/// The name that a declaration introduces: the first `yc_` or `YC_` name that is not the type of something else.
fn name_of(text: &str) -> String {
    let code: Vec<&str> = text.lines().skip_while(|line| line.starts_with("//")).collect();
    let (first, last) = (code.first().unwrap(), code.last().unwrap());
    let declared = match first {
        line if line.starts_with("#define ") => line.split(' ').nth(1).unwrap(),
        line if line.starts_with("typedef ") && line.contains("(*") => between(line, "(*", ")"),
        line if line.starts_with("typedef ") => last.rsplit([' ', '}']).next().unwrap().trim_end_matches(';'),
        line => line.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap(),
    };
    assert!(declared.starts_with("yc_") || declared.starts_with("YC_"), "no name in: {text}");
    declared.to_owned()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split(before).nth(1).unwrap().split(after).next().unwrap()
}

/// Tells whether a line of the template places an item. `YC_E_*` places every name that begins with `YC_E_`, except a
/// name that another line places.
fn places(pattern: &str, name: &str, explicit: &[&str]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix) && !explicit.contains(&name),
        None => pattern == name,
    }
}

fn headings(template: &str) -> impl Iterator<Item = &str> {
    template.lines().filter_map(|line| line.strip_prefix("/* ---- ")?.strip_suffix(" ---- */"))
}

/// Returns the header: the template with a table of contents and with the declarations in its sections.
fn generate() -> String {
    let (template, items) = (read("src/ffi/yokedcache.h.in"), items());
    let patterns = || template.lines().filter_map(|line| line.strip_prefix("@items ")).flat_map(str::split_whitespace);
    let explicit: Vec<&str> = patterns().filter(|pattern| !pattern.ends_with('*')).collect();
    for item in &items {
        let sections = patterns().filter(|pattern| places(pattern, &item.name, &explicit)).count();
        assert_eq!(sections, 1, "{} is in {sections} sections of src/ffi/yokedcache.h.in", item.name);
    }
    let mut header = String::new();
    for line in template.lines() {
        if line == "@contents" {
            headings(&template).for_each(|heading| writeln!(header, " *   {heading}").unwrap());
        } else if let Some(patterns) = line.strip_prefix("@items ") {
            let texts: Vec<&str> =
                patterns.split_whitespace().flat_map(|pattern| placed(pattern, &items, &explicit)).collect();
            writeln!(header, "{}", texts.join("\n\n")).unwrap();
        } else {
            writeln!(header, "{line}").unwrap();
        }
    }
    header
}

fn placed<'a>(pattern: &str, items: &'a [Item], explicit: &[&str]) -> Vec<&'a str> {
    let found: Vec<&str> =
        items.iter().filter(|item| places(pattern, &item.name, explicit)).map(|item| item.text.as_str()).collect();
    assert!(!found.is_empty(), "src/ffi/yokedcache.h.in places {pattern}, which src/ffi does not declare");
    found
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let (path, header) = (root().join("include/yokedcache.h"), generate());
    if env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &header).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == header, "include/yokedcache.h differs from src/ffi: UPDATE_HEADER=1 cargo test --test header");
}

#[test]
fn the_kinds_of_operations_are_numbered_in_order() {
    let header = read("include/yokedcache.h");
    let kinds = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define YC_OP_"))
        .filter(|line| !["COUNT ", "IDEMPOTENT ", "FRESH ", "DRY_RUN "].iter().any(|flag| line.starts_with(flag)));
    let numbers: Vec<usize> = kinds.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}

/// Returns the examples of a header: the runs of comment lines that are indented by four more spaces than a sentence.
fn examples(header: &str) -> Vec<String> {
    let mut examples = vec![String::new()];
    for line in header.lines().map(str::trim_start) {
        match (line.strip_prefix("//     "), line == "//" && examples.last().is_some_and(|last| !last.is_empty())) {
            (Some(code), _) => writeln!(examples.last_mut().unwrap(), "{code}").unwrap(),
            (None, true) => examples.last_mut().unwrap().push('\n'),
            (None, false) => examples.push(String::new()),
        }
    }
    examples.retain(|example| !example.is_empty());
    examples
}

/// Returns a program of examples. An example that begins with a function is one of the file, any other a body.
fn program(prologue: &str, parameters: &str, examples: &[String]) -> String {
    let mut program = format!("{prologue}\n");
    for (number, example) in examples.iter().enumerate() {
        if example.starts_with("static ") || example.starts_with("#include") {
            writeln!(program, "{example}").unwrap();
        } else {
            writeln!(program, "int example_{number}({parameters});\nint example_{number}({parameters}) {{").unwrap();
            writeln!(program, "{example}    return 0;\n}}\n").unwrap();
        }
    }
    program
}

/// Checks a program with a compiler, strictly. Unused names are allowed: an example need not use all that it is given.
fn compile(compiler: &str, language: &str, standard: &str, program: &str) {
    let include = root().join("include");
    let mut child = Command::new(compiler)
        .args(["-x", language, standard, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-Wno-unused-parameter", "-Wno-unused-function", "-I"])
        .arg(&include)
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{compiler} {standard} refuses an example:\n{program}");
}

#[test]
fn each_section_of_the_header_has_an_example_that_compiles() {
    let header = read("include/yokedcache.h");
    for section in header.split("/* ---- ").skip(1) {
        assert!(!examples(section).is_empty(), "no example in {}", section.lines().next().unwrap());
    }
    let prologue = "#include <stdio.h>\n#include <string.h>\n#include <yokedcache.h>\n";
    let program = program(prologue, "yc_cache *cache, yc_error *err", &examples(&header));
    compile("cc", "c", "-std=c99", &program);
}

/// Returns the names of the public classes and structs of the C++ wrapper, each with the comment before it.
fn classes(header: &str) -> Vec<(String, String)> {
    let (mut classes, mut comment, mut details) = (Vec::new(), String::new(), false);
    for line in header.lines() {
        details |= line == "namespace detail {";
        details &= line != "} // namespace detail";
        if line.starts_with("//") {
            writeln!(comment, "{line}").unwrap();
            continue;
        }
        let declared = line.strip_prefix("class ").or_else(|| line.strip_prefix("struct "));
        if let Some(declared) = declared.filter(|declared| !details && !declared.contains("::Iterator")) {
            classes.push((declared.split([' ', ':']).next().unwrap().to_owned(), comment.clone()));
        }
        comment.clear();
    }
    classes
}

#[test]
fn each_class_of_the_wrapper_has_an_example_that_compiles() {
    let header = read("include/yokedcache.hpp");
    for (class, comment) in classes(&header) {
        assert!(!examples(&comment).is_empty(), "no example at {class}");
    }
    let prologue = "#include <yokedcache.hpp>\n#include <iostream>\n#include <map>\n#include <string>\n#include <vector>\n\
                    using namespace yokedcache;\nusing namespace std::chrono_literals;\n";
    let program = program(prologue, "Cache &cache", &examples(&header));
    compile("c++", "c++", "-std=c++17", &program);
}
