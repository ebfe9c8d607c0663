//! Removes entries by tag or by pattern, or lists those that would be removed.

use serde_json::json;
use yokedcache::cache::Cursor;
use yokedcache::exec::blocking::answer;
use yokedcache::operation::{Operation, Removed};
use yokedcache::util::glob::Glob;

use super::listing::list;
use crate::arguments::Invalidate;
use crate::exit::Exit;
use crate::failure::Result;
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
        tags => answer(session.cache.call(Operation::InvalidateTags { tags, count: true }))?.removed(),
    };
    say_removed(session, removed)?;
    Ok(Exit::Done)
}

fn by_patterns(session: &Session, patterns: &[&[u8]]) -> Result<Removed> {
    let mut removed = Some(0);
    for pattern in patterns {
        let of_one = answer(session.cache.call(Operation::InvalidatePatterns { patterns: &[pattern] }))?.removed();
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
