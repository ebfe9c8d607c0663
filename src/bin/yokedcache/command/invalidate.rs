//! Removes entries by tag or by pattern, or all of them, or lists those that would be removed.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::json;
use yokedcache::cache::Cursor;
use yokedcache::error::ErrorKind;
use yokedcache::exec::blocking::{answer, wait};
use yokedcache::operation::{Operation, PatternMode, Removed, Usage};
use yokedcache::util::glob::Glob;

use super::check::servers;
use super::listing::list;
use crate::arguments::Invalidate;
use crate::failure::{Exit, Failure, Result};
use crate::output::remark;
use crate::session::{Session, slices};

/// Removes the selected entries, or lists them.
pub fn invalidate(session: &mut Session, arguments: &Invalidate) -> Result<Exit> {
    let (tags, patterns) = (session.all_bytes(&arguments.tags)?, session.all_bytes(&arguments.patterns)?);
    let (tags, patterns) = (slices(&tags), slices(&patterns));
    if arguments.dry_run {
        return dry_run(session, &tags, &patterns);
    }
    let removed = match tags.as_slice() {
        [] => by_patterns(session, &patterns)?,
        tags => {
            answer(|context| session.cache.call(context, Operation::InvalidateTags { tags, count: true }))?.removed()
        }
    };
    say_removed(session, removed)?;
    Ok(Exit::Done)
}

fn by_patterns(session: &Session, patterns: &[&[u8]]) -> Result<Removed> {
    let mut removed = Some(0);
    for pattern in patterns {
        let operation =
            Operation::InvalidatePatterns { patterns: std::slice::from_ref(pattern), mode: PatternMode::Walk };
        let of_one = answer(|context| session.cache.call(context, operation))?.removed();
        removed = removed.zip(of_one).map(|(sum, one)| sum + one);
    }
    Ok(removed)
}

/// Writes the number of removed entries, if it is known.
pub fn say_removed(session: &mut Session, removed: Removed) -> Result<()> {
    let text = || match removed {
        Some(1) => "removed 1 entry".to_owned(),
        Some(count) => format!("removed {count} entries"),
        None => "done; the number of removed entries is unknown: this backend does not count them".to_owned(),
    };
    session.output.say(text, || json!({ "removed": removed }))
}

fn dry_run(session: &mut Session, tags: &[&[u8]], patterns: &[&[u8]]) -> Result<Exit> {
    let count = match patterns {
        [] => list(session, &mut Cursor::new(b"*")?.tagged(tags)?, None, |_| true)?,
        patterns => list_matching(session, patterns)?,
    };
    if session.output.is_json() {
        session.output.say(String::new, || json!({ "would_remove": count }))?;
    }
    remark(session.output.is_json(), &format!("would remove {count}; nothing was removed"));
    Ok(Exit::Done)
}

/// Lists a key that matches several patterns once, for the first of them.
fn list_matching(session: &mut Session, patterns: &[&[u8]]) -> Result<u64> {
    let mut count = 0;
    for (index, pattern) in patterns.iter().enumerate() {
        let before: Vec<Glob> = patterns[..index].iter().map(|pattern| Glob::new(pattern)).collect();
        let is_new = |key: &[u8]| !before.iter().any(|glob| glob.matches(key));
        count += list(session, &mut Cursor::new(pattern)?, None, is_new)?;
    }
    Ok(count)
}

/// Runs a command that removes every entry, after a confirmation.
pub fn remove_all(session: &mut Session, command: &str, operation: Operation<'_>, yes: bool) -> Result<Exit> {
    if !yes && !confirm(session, command)? {
        remark(session.output.is_json(), "nothing was removed");
        return Ok(Exit::No);
    }
    let removed = answer(|context| session.cache.call(context, operation))?.removed();
    say_removed(session, removed)?;
    Ok(Exit::Done)
}

fn confirm(session: &Session, command: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{command} asks for confirmation on a terminal, and standard input is not one: give --yes"
        )));
    }
    let namespace = session.cache.namespace().map(|name| format!(" of namespace {name}")).unwrap_or_default();
    let question = format!(
        "Remove {}{namespace} of prefix {} on {}? Type yes: ",
        count(session)?,
        session.config.key_prefix,
        place(session)
    );
    let mut line = String::new();
    let asked = io::stderr().write_all(question.as_bytes());
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut line));
    read.map_err(|error| Failure::Stream("the terminal".to_owned(), error))?;
    Ok(line.trim().eq_ignore_ascii_case("yes"))
}

fn count(session: &Session) -> Result<String> {
    let keys = if session.cache.has_namespace() {
        wait(|context| session.cache.size(context)).map(|(keys, _)| keys.to_string())
    } else {
        let keys = |usage: Usage| format!("{}{}", if usage.estimated { "about " } else { "" }, usage.keys);
        wait(|context| session.cache.usage(context)).map(keys)
    };
    match keys {
        Ok(keys) => Ok(format!("all entries ({keys})")),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Ok("all entries (this backend cannot count them)".to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

fn place(session: &Session) -> String {
    let servers = servers(&session.config.backend);
    format!("{} {}", session.config.backend.name().text(), servers.join(", ")).trim_end().to_owned()
}
