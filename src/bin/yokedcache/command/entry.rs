//! Commands on one entry: get, set, del, exists, ttl, expire.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use yokedcache::exec::blocking::answer;
use yokedcache::operation::{NewEntry, Operation, Outcome};
use yokedcache::ttl::{Ttl, left_millis};

use crate::arguments::{Expire, Get, Set};
use crate::bytes;
use crate::failure::{Exit, Failure, Result};
use crate::session::{Session, slices};

/// The limit of a value from standard input: one byte over the largest `max_value_bytes`, so that the cache refuses it.
const MOST_INPUT: u64 = 512 * 1024 * 1024 + 1;

/// Writes the value of a key.
pub fn get(session: &mut Session, arguments: &Get) -> Result<Exit> {
    let key = session.bytes(&arguments.key)?;
    let found = answer(|context| session.cache.get(context, &key))?;
    let value = found.as_ref().map(|value| value.as_bytes());
    match (value, &arguments.output) {
        (Some(value), Some(file)) => save(session, &key, value, file)?,
        (Some(value), None) if !session.output.is_json() => session.output.value(value)?,
        (None, _) if !session.output.is_json() => crate::output::remark(false, "miss"),
        _ => session.output.say(String::new, || found_in(&key, value))?,
    }
    Ok(Exit::answer(value.is_some()))
}

fn save(session: &mut Session, key: &[u8], value: &[u8], file: &Path) -> Result<()> {
    fs::write(file, value).map_err(Failure::stream(&file.display().to_string()))?;
    let text = || format!("wrote {} bytes to {}", value.len(), file.display());
    session.output.say(text, || about(key, [("found", json!(true)), ("bytes", json!(value.len()))]))
}

fn found_in(key: &[u8], value: Option<&[u8]>) -> Json {
    let mut object = bytes::object("key", key);
    object.insert("found".to_owned(), value.is_some().into());
    value.into_iter().for_each(|value| bytes::put(&mut object, "value", value));
    Json::Object(object)
}

/// Stores a value.
pub fn set(session: &mut Session, arguments: &Set) -> Result<Exit> {
    let (key, value) = (session.bytes(&arguments.key)?, input(session, &arguments.value)?);
    let (tags, ttl) = (session.all_bytes(&arguments.tags)?, arguments.ttl.unwrap_or(Ttl::Default));
    let ttl = session.cache.resolve(ttl);
    let tags = slices(&tags);
    answer(|context| session.cache.set(context, NewEntry { key: &key, value: &value, ttl, tags: &tags }))?;
    session.output.say(|| "stored".to_owned(), || about(&key, [("stored", json!(true))]))?;
    Ok(Exit::Done)
}

/// Returns the bytes of an argument; `-` reads them from standard input.
pub fn input<'a>(session: &Session, argument: &'a OsString) -> Result<Cow<'a, [u8]>> {
    if argument != "-" {
        return session.bytes(argument);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST_INPUT).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Stream("standard input".to_owned(), error))?;
    Ok(bytes.into())
}

/// Removes keys.
pub fn delete(session: &mut Session, keys: &[OsString]) -> Result<Exit> {
    let keys = session.all_bytes(keys)?;
    let (names, mut removed) = (slices(&keys), 0);
    for deleted in answer(|context| session.cache.call(context, Operation::DeleteMany { keys: &names }))?.each() {
        removed += usize::from(deleted?.is_hit());
    }
    let text = || format!("removed {removed} of {}", keys.len());
    session.output.say(text, || json!({ "keys": keys.len(), "removed": removed }))?;
    Ok(Exit::answer(removed == keys.len()))
}

/// Reports whether a key exists.
pub fn exists(session: &mut Session, key: &OsString) -> Result<Exit> {
    let key = session.bytes(key)?;
    let found = answer(|context| session.cache.call(context, Operation::Exists { key: &key }))?.is_hit();
    let text = || if found { "yes" } else { "no" }.to_owned();
    session.output.say(text, || about(&key, [("found", json!(found))]))?;
    Ok(Exit::answer(found))
}

/// Reports the remaining time to live of a key.
pub fn ttl(session: &mut Session, key: &OsString) -> Result<Exit> {
    let key = session.bytes(key)?;
    let Outcome::Remaining(left) = answer(|context| session.cache.call(context, Operation::Ttl { key: &key }))? else {
        return miss(session, &key);
    };
    let json = || about(&key, [("found", json!(true)), ("ttl_ms", json!(left.map(left_millis)))]);
    session.output.say(|| left.map_or_else(|| "never".to_owned(), time), json)?;
    Ok(Exit::Done)
}

/// Sets the time to live of a key.
pub fn expire(session: &mut Session, arguments: &Expire) -> Result<Exit> {
    let key = session.bytes(&arguments.key)?;
    let ttl = session.cache.resolve(arguments.ttl);
    if !answer(|context| session.cache.call(context, Operation::Expire { key: &key, ttl }))?.is_hit() {
        return miss(session, &key);
    }
    session.output.say(|| "changed".to_owned(), || about(&key, [("found", json!(true))]))?;
    Ok(Exit::Done)
}

fn miss(session: &mut Session, key: &[u8]) -> Result<Exit> {
    if session.output.is_json() {
        session.output.say(String::new, || about(key, [("found", json!(false))]))?;
    } else {
        crate::output::remark(false, "miss");
    }
    Ok(Exit::No)
}

fn about<const N: usize>(key: &[u8], fields: [(&str, Json); N]) -> Json {
    let named = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    Json::Object(bytes::object("key", key).into_iter().chain(named).collect::<Map<_, _>>())
}

/// Formats a time as `--ttl` takes it, to the millisecond and never `0.000s`.
fn time(left: Duration) -> String {
    format!("{:.3}s", Duration::from_millis(left_millis(left)).as_secs_f64())
}
