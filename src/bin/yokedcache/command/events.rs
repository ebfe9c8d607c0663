//! `events`: writes what other programs remove.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use yokedcache::cache::CacheHandle;
use yokedcache::event::{Event, EventFilter, EventKind};
use yokedcache::exec::blocking::wait;
use yokedcache::message::Message;

use super::channel::{receive, remark_lost};
use crate::arguments::{Events, Kind};
use crate::bytes;
use crate::failure::{Exit, Result};
use crate::output::{Output, remark};
use crate::session::{Session, slices};

/// The milliseconds of a day.
const DAY: u64 = 86_400_000;

/// Writes events.
pub fn events(session: &mut Session, arguments: &Events) -> Result<Exit> {
    let (tags, keys) = (session.all_bytes(&arguments.tags)?, session.all_bytes(&arguments.keys)?);
    let mut filter = EventFilter::new(&slices(&tags), &slices(&keys), 0)?;
    filter.kinds = arguments.kinds.iter().map(|kind| kind_of(*kind)).collect();
    let handle = Arc::new(CacheHandle::new(session.cache.clone()));
    let reader = wait(|context| handle.listen(context, filter))?;
    if session.cache.answers_at_once() {
        remark(false, "no other process can change a cache in memory: name a server with --url");
    }
    remark(false, "reading events");
    receive(session, &reader, arguments.count, write)
}

fn kind_of(kind: Kind) -> EventKind {
    match kind {
        Kind::Tag => EventKind::Tag,
        Kind::Pattern => EventKind::Pattern,
        Kind::Flush => EventKind::Flush,
        Kind::Delete => EventKind::Delete,
    }
}

/// Writes an event as a line. People read of a gap on the standard error.
fn write(output: &mut Output, message: &Message) -> Result<()> {
    match message {
        Message::Event(event) => output.say(|| line(event), || object(event)),
        // A reader of events receives no messages of channels.
        Message::Published { .. } => Ok(()),
        Message::Lost(lost) if output.is_json() => output.say(String::new, || json!({ "kind": "gap", "lost": lost })),
        Message::Lost(lost) => {
            remark_lost("events", *lost);
            Ok(())
        }
    }
}

fn line(event: &Event) -> String {
    let (kind, name) = (kind_name(event.kind), bytes::shown(&event.name));
    format!("{kind}\t{name}\t{:016x}\t{}", event.origin, date_and_time(event.time_ms))
}

/// Returns an event for programs. The origin is text: many programs read numbers of 64 bits inexactly.
fn object(event: &Event) -> Json {
    let mut object = bytes::object("name", &event.name);
    object.insert("kind".to_owned(), kind_name(event.kind).into());
    object.insert("origin".to_owned(), format!("{:016x}", event.origin).into());
    object.insert("sequence".to_owned(), event.sequence.into());
    object.insert("time_ms".to_owned(), event.time_ms.into());
    Json::Object(object)
}

fn kind_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Tag => "tag",
        EventKind::Pattern => "pattern",
        EventKind::Flush => "flush",
        EventKind::Delete => "delete",
        EventKind::Switch => "switch",
        EventKind::FallbackBegin => "fallback_begin",
        EventKind::FallbackEnd => "fallback_end",
    }
}

/// Returns milliseconds since 1970 as UTC, such as `2026-03-01T12:00:00.250Z`.
fn date_and_time(time_ms: u64) -> String {
    // 400 years have 146,097 days: an absurd time takes no longer than another.
    let (all_days, time) = (time_ms / DAY, time_ms % DAY);
    let (mut year, mut days) = (1970 + all_days / 146_097 * 400, all_days % 146_097);
    while days >= days_of(year) {
        days -= days_of(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (hours, minutes, seconds) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60);
    format!("{year:04}-{month:02}-{:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", days + 1, time % 1000)
}

fn days_of(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_date_and_time() {
        for (time_ms, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_764_467_134_005, "2025-11-30T01:45:34.005Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (4_133_980_799_999, "2100-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(date_and_time(time_ms), shown);
        }
        assert!(date_and_time(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn an_event_is_shown_with_its_name_escaped() {
        let event = Event {
            kind: EventKind::Delete,
            name: (*b"a\t\xff").into(),
            origin: 10,
            sequence: 3,
            time_ms: 1,
            is_own: false,
        };
        assert_eq!(line(&event), "delete\ta\\t\\xff\t000000000000000a\t1970-01-01T00:00:00.001Z");
        let expected = json!({
            "kind": "delete", "name_base64": "YQn/", "origin": "000000000000000a", "sequence": 3, "time_ms": 1
        });
        assert_eq!(object(&event), expected);
    }
}
