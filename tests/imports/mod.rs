//! The graph of imports between the files of `src`, and its cycles.
//!
//! A file imports another one if it names an item that is defined there, by `use` or in place. A re-export is
//! followed to the file that defines the item, and is no import itself. Nor is what the `mod.rs` of a folder takes from
//! the folder: it puts the parts together. Code under `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::slice::from_ref;

/// A module: its names from the root of the crate.
type Module = Vec<String>;
/// Files by their paths below `src`, and the files that each of them imports.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// A name that a file brings into scope.
struct Use {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

/// What a file says about other files.
#[derive(Default)]
struct Source {
    file: String,
    children: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths in place, such as `super::meta::write`.
    paths: Vec<Vec<String>>,
}

/// The words and signs of a source, without comments, texts and lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let bytes = source.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    let find = |from: usize, text: &str| source[from..].find(text).map_or(bytes.len(), |end| from + end + text.len());
    while at < bytes.len() {
        let rest = &source[at..];
        at = match bytes[at] {
            b'/' if rest.starts_with("//") => find(at, "\n"),
            b'/' if rest.starts_with("/*") => find(at, "*/"),
            b'r' if rest.starts_with("r#\"") => find(at + 3, "\"#"),
            b'"' => end_of_text(bytes, at),
            // A character, or a lifetime.
            b'\'' if rest.starts_with("'\\") => find(at + 3, "'"),
            b'\'' if rest.chars().nth(2) == Some('\'') => {
                find(at + 1 + rest.chars().nth(1).map_or(1, char::len_utf8), "'")
            }
            b':' if rest.starts_with("::") => {
                tokens.push("::".into());
                at + 2
            }
            byte if byte == b'_' || byte.is_ascii_alphanumeric() => {
                let word = rest.split(|it: char| it != '_' && !it.is_ascii_alphanumeric()).next().unwrap();
                tokens.push(word.into());
                at + word.len()
            }
            byte => {
                if byte.is_ascii_punctuation() {
                    tokens.push(char::from(byte).into());
                }
                at + rest.chars().next().map_or(1, char::len_utf8)
            }
        };
    }
    tokens
}

fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of the item that begins here: behind its `;`, or behind the block that it ends with.
fn end_of_item(tokens: &[String], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && token == "}" {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Reads a tree such as `crate::a::{b, c::d as e}`, from its first word on; the place behind it.
fn read_tree(tokens: &[String], mut at: usize, prefix: &[String], is_public: bool, uses: &mut Vec<Use>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens[at].as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = read_tree(tokens, at, &path, is_public, uses);
                    at += usize::from(tokens[at] == ",");
                }
                return at + 1;
            }
            "as" => {
                uses.push(Use { path, name: tokens[at + 1].clone(), is_public });
                return at + 2;
            }
            "," | "}" | ";" => {
                // `{self, …}` is the module itself.
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let name = path.last().unwrap().clone();
                uses.push(Use { path, name, is_public });
                return at;
            }
            word => {
                path.push(word.into());
                at += 1;
            }
        }
    }
}

fn read(file: String, text: &str) -> Source {
    let tokens = tokens(text);
    let mut source = Source { file, ..Source::default() };
    let (mut at, mut is_public) = (0, false);
    while at < tokens.len() {
        let after = |offset: usize| tokens.get(at + offset).map_or("", String::as_str);
        match tokens[at].as_str() {
            "#" if (1..7).map(after).eq(["[", "cfg", "(", "test", ")", "]"]) => at = end_of_item(&tokens, at + 7),
            "pub" => {
                is_public = true;
                at += if after(1) == "(" { 1 + tokens[at..].iter().position(|it| it == ")").unwrap() } else { 1 };
                continue;
            }
            "mod" if after(2) == ";" => {
                source.children.insert(after(1).into());
                at += 3;
            }
            "use" => at = read_tree(&tokens, at + 1, &[], is_public, &mut source.uses),
            _ if after(1) == "::" && (at == 0 || tokens[at - 1] != "::") => {
                let mut path = vec![tokens[at].clone()];
                at += 1;
                while tokens.get(at).is_some_and(|it| it == "::")
                    && tokens[at + 1].starts_with(|it: char| it == '_' || it.is_alphabetic())
                {
                    path.push(tokens[at + 1].clone());
                    at += 2;
                }
                source.paths.push(path);
            }
            _ => at += 1,
        }
        is_public = false;
    }
    source
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The sources of the library by their modules; those of tests are not declared elsewhere and drop out.
fn sources(root: &Path) -> HashMap<Module, Source> {
    let mut all = HashMap::new();
    for path in files(root) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name.strip_suffix(".rs").filter(|stem| !stem.starts_with("bin/")) else { continue };
        let mut module: Module = stem.split('/').map(str::to_owned).collect();
        if ["mod", "lib"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        all.insert(module, read(name.clone(), &fs::read_to_string(&path).unwrap()));
    }
    let mut declared = HashMap::new();
    let mut open = vec![Module::new()];
    while let Some(module) = open.pop() {
        let source = all.remove(&module).unwrap();
        open.extend(source.children.iter().map(|child| [&module[..], from_ref(child)].concat()));
        declared.insert(module, source);
    }
    declared
}

struct Resolver<'a>(&'a HashMap<Module, Source>);

impl Resolver<'_> {
    /// The file that defines what a path in a module names; nothing for what is not of this crate, and for a module.
    fn file(&self, module: &Module, path: &[String], depth: usize) -> Option<String> {
        let (found, rest) = self.item(module, path, depth)?;
        (!rest.is_empty()).then(|| self.0[&found].file.clone())
    }

    /// The module that a path leads to, and what of the path is left inside it.
    fn item(&self, module: &Module, path: &[String], depth: usize) -> Option<(Module, Vec<String>)> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(Module::new(), rest, depth),
            "self" => self.walk(module.clone(), rest, depth),
            "super" => self.walk(module[..module.len().checked_sub(1)?].to_vec(), rest, depth),
            first => {
                let source = &self.0[module];
                let is_known = source.children.contains(first) || source.uses.iter().any(|it| it.name == first);
                if is_known { self.walk(module.clone(), path, depth) } else { None }
            }
        }
    }

    fn walk(&self, module: Module, path: &[String], depth: usize) -> Option<(Module, Vec<String>)> {
        let Some((first, rest)) = path.split_first() else { return Some((module, Vec::new())) };
        if first == "super" {
            return self.walk(module[..module.len().checked_sub(1)?].to_vec(), rest, depth);
        }
        let source = &self.0[&module];
        if source.children.contains(first) {
            return self.walk([&module[..], from_ref(first)].concat(), rest, depth);
        }
        // An import or a re-export: its own path continues with the rest. A circle of them ends.
        if let Some(found) = source.uses.iter().find(|it| it.name == *first && depth < 20) {
            return self.item(&module, &[&found.path[..], rest].concat(), depth + 1);
        }
        Some((module, path.to_vec()))
    }
}

/// Reads the graph of the files below a folder.
pub fn graph(root: &Path) -> Graph {
    let sources = sources(root);
    let resolver = Resolver(&sources);
    let mut graph = Graph::new();
    for (module, source) in &sources {
        let is_index = source.file.ends_with("mod.rs") || source.file == "lib.rs";
        let used = source.uses.iter().filter(|it| !(it.is_public && is_index)).map(|it| &it.path);
        let imported = used.chain(&source.paths).filter_map(|path| resolver.file(module, path, 0));
        let folder = source.file.strip_suffix("mod.rs").unwrap_or("/");
        let is_other = |file: &String| *file != source.file && !file.starts_with(folder);
        graph.insert(source.file.clone(), imported.filter(is_other).collect());
    }
    graph
}

/// The shortest path from a file to another one through some of the files.
fn path<'a>(graph: &'a Graph, within: &BTreeSet<&str>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut before: HashMap<&str, &str> = HashMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(file) = open.pop_front() {
        for next in graph[file].iter().map(String::as_str).filter(|it| within.contains(it)) {
            if next == to {
                let mut path = vec![file];
                while let Some(earlier) =
                    path.last().and_then(|last| before.get(last)).filter(|_| path[path.len() - 1] != from)
                {
                    path.push(earlier);
                }
                path.reverse();
                return Some(path);
            }
            if next != from && !before.contains_key(next) {
                before.insert(next, file);
                open.push_back(next);
            }
        }
    }
    None
}

fn reachable<'a>(graph: &'a Graph, from: &'a str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for next in &graph[file] {
            if found.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    found
}

/// The groups of files that import each other, each group in order.
pub fn circles(graph: &Graph) -> Vec<BTreeSet<&str>> {
    let reachable: HashMap<&str, BTreeSet<&str>> = graph.keys().map(|file| (&**file, reachable(graph, file))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for file in graph.keys().map(String::as_str).filter(|file| reachable[file].contains(file)) {
        if circles.iter().all(|circle| !circle.contains(file)) {
            circles.push(reachable[file].iter().filter(|other| reachable[*other].contains(file)).copied().collect());
        }
    }
    circles
}

/// A cycle of a group as text, through files of different folders if there is one: `a → b → a`.
pub fn example(graph: &Graph, circle: &BTreeSet<&str>) -> String {
    let folder = |file: &str| file.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let steps = circle.iter().flat_map(|from| graph[*from].iter().map(|to| (*from, to.as_str())));
    let mut steps: Vec<(&str, &str)> = steps.filter(|(_, to)| circle.contains(to)).collect();
    steps.sort_by_key(|(from, to)| folder(from) == folder(to));
    let (from, to) = steps[0];
    let mut files = vec![from];
    files.extend(path(graph, circle, to, from).unwrap());
    files.push(from);
    files.join(" → ")
}
