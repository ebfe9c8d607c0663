//! Messages of the configuration: refusals, and how they repeat what people wrote (short, printable, without secrets).

use crate::error::{Error, ErrorKind};

/// The largest number of characters of a foreign text that a message repeats.
const SHOWN_CHARACTERS: usize = 64;

/// Returns the refusal of a configuration.
pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// Returns the error with its source in front.
pub(super) fn within(source: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("{source}: {}", error.message()))
}

/// Returns the text in quotes, escaped and shortened.
pub(super) fn quoted(text: &str) -> String {
    // `user:password@host`, in the wrong place.
    if text.contains('@') {
        return "\"…@…\"".to_owned();
    }
    format!("{:?}", without_address(&shortened(text)))
}

/// Returns a name in quotes, up to its first unusual letter: `password:"..."` without its space is a name to YAML.
pub(super) fn name(text: &str) -> String {
    let fits = |letter: char| letter.is_alphanumeric() || "_-.".contains(letter);
    match text.find(|letter| !fits(letter)) {
        Some(end) => quoted(&format!("{}…", text.get(..end).unwrap_or_default())),
        None => quoted(text),
    }
}

/// Returns the text, or its start if it is long.
pub(super) fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let ending = if shown.len() < text.len() { "…" } else { "" };
    shown + ending
}

/// Returns the text up to the address part of a URL: a password may follow.
pub(super) fn without_address(text: &str) -> String {
    match text.split_once("://") {
        Some((before, _)) => format!("{before}://…"),
        None => text.to_owned(),
    }
}

/// Returns names in backquotes with commas.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    backquoted(names).join(", ")
}

/// Returns names in backquotes as alternatives.
pub(super) fn alternatives<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted = backquoted(names);
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

fn backquoted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(|name| format!("`{name}`")).collect()
}

/// Returns `; did you mean …?` if a known name is near, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing costs the product of the lengths, and a name in a document may be as long as the document.
    if name.len() > SHOWN_CHARACTERS {
        return None;
    }
    let name = name.to_lowercase();
    let far = |known: &str| strsim::osa_distance(&name, known);
    let known: Vec<&str> = known.into_iter().collect();
    let near = known.iter().copied().min_by_key(|known| far(known))?;
    if far(near) <= 1 {
        return Some(near);
    }
    // The last word of a name says most: `size` is rather `max_size` than `size_limit`.
    let part = known.into_iter().filter(|known| is_part(&name, known));
    let part = part.min_by_key(|known| (!known.ends_with(&name), far(known)));
    part.or_else(|| (far(near) <= near.len().div_ceil(3)).then_some(near))
}

/// Returns true if a name is a word of a known name, or starts it: `pool` of `pool_size`.
fn is_part(name: &str, known: &str) -> bool {
    name.len() > 2 && (known.starts_with(name) || known.split('_').any(|word| word == name))
}
