//! Commands that list keys: keys, search.

use yokedcache::cache::{Cursor, SearchOptions};
use yokedcache::exec::blocking::wait;

use serde_json::{Value as Json, json};

use crate::arguments::{Listing, Search};
use crate::bytes;
use crate::failure::{Exit, Result};
use crate::session::{Session, slices};

/// The number of keys that are requested at once.
const PAGE: usize = 512;

/// Lists keys.
pub fn keys(session: &mut Session, arguments: &Listing) -> Result<Exit> {
    let (pattern, tags) = (session.bytes(&arguments.pattern)?, session.all_bytes(&arguments.tags)?);
    let mut cursor = Cursor::new(&pattern)?.tagged(&slices(&tags))?;
    list(session, &mut cursor, arguments.limit, |_| true)?;
    Ok(Exit::Done)
}

/// Writes the wanted keys of a listing, up to a limit, and returns their number.
pub fn list(
    session: &mut Session,
    cursor: &mut Cursor,
    limit: Option<u64>,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<u64> {
    let (mut listed, limit) = (0, limit.unwrap_or(u64::MAX));
    while listed < limit {
        let keys = wait(|context| session.cache.next_keys(context, cursor, PAGE))?;
        if keys.is_empty() {
            break;
        }
        for key in keys.iter().filter(|key| wanted(key)).take(usize::try_from(limit - listed).unwrap_or(usize::MAX)) {
            session.output.say(|| bytes::shown(key), || Json::Object(bytes::object("key", key)))?;
            listed += 1;
        }
        session.output.flush()?;
    }
    Ok(listed)
}

/// Finds the keys that are most similar to a text.
pub fn search(session: &mut Session, arguments: &Search) -> Result<Exit> {
    let (query, tags) = (session.bytes(&arguments.query)?, session.all_bytes(&arguments.tags)?);
    let options = SearchOptions { threshold: arguments.threshold, limit: arguments.limit, tags: &slices(&tags) };
    for found in wait(|context| session.cache.search(context, &query, options))? {
        let text = || format!("{:5.1}  {}", found.score, bytes::shown(&found.key));
        session.output.say(text, || scored(&found.key, found.score))?;
    }
    Ok(Exit::Done)
}

fn scored(key: &[u8], score: f64) -> Json {
    let mut object = bytes::object("key", key);
    object.insert("score".to_owned(), json!(score));
    Json::Object(object)
}
