//! The copies of a near cache, with what decides whether they may be kept and served.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::freshness::Freshness;
use super::guards::{Guards, Token, Writing};
use crate::backend::memory::{Front, NearEntry, Unconfirmed};
use crate::backend::remote::{Keepable, Watches};
use crate::backend::{Hit, NearActivity};
use crate::config::NearConfig;
use crate::entry::tag_hash;
use crate::operation::Change;
use crate::util::clock::{Deadline, Moment};
use crate::value::Value;

/// Copies of entries of a store.
pub struct Copies {
    front: Front,
    guards: Guards,
    /// The freshness of all copies.
    pub freshness: Freshness,
    /// True if the store was to tell of changes.
    has_sources: bool,
    /// The longest life of a copy; `None`: as long as that of its entry.
    ttl: Option<Duration>,
    /// The callers that wait for loads.
    watches: Arc<Watches>,
    fills: AtomicU64,
    revoked: AtomicU64,
    confirmed: AtomicU64,
}

/// The moment before a read: a reply is kept only if nothing has changed since then, and the times that it tells count
/// from then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    at: Moment,
    token: Token,
    redirections: u64,
}

impl Copies {
    /// Creates an empty store of copies. With `has_sources` they are served once something tells of changes; otherwise
    /// each for `max_staleness`.
    pub fn new(config: &NearConfig, has_sources: bool, watches: Arc<Watches>) -> Self {
        Self {
            front: Front::new(config),
            guards: Guards::new(),
            freshness: Freshness::new(config.max_staleness, has_sources),
            has_sources,
            ttl: (!config.ttl.is_zero()).then_some(config.ttl),
            watches,
            fills: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
        }
    }

    /// Returns the value of a copy.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.front.get(key, self.freshness.until())
    }

    /// Returns the value of a copy, and copies a short one to a buffer that has room for it.
    #[inline]
    pub fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        self.front.hit_into(key, buffer, self.freshness.until())
    }

    /// Returns the value of a copy for a load, unless its entry is due for an early refresh and one is asked for.
    pub fn get_to_load(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        match refresh_ahead {
            false => self.get(key),
            // A copy with a limit does not know the end of its entry.
            true if self.freshness.is_over() || self.freshness.limit().is_some() => None,
            true => self.front.get_unless_due(key),
        }
    }

    /// Returns the values of copies.
    pub fn get_many(&self, keys: &[&[u8]]) -> Vec<Option<Value>> {
        if self.freshness.is_over() { keys.iter().map(|_| None).collect() } else { self.front.get_many(keys) }
    }

    /// Returns what a read has to know before it begins.
    pub fn before(&self, redirections: u64) -> Before {
        Before { at: Moment::now(), token: self.guards.token(), redirections }
    }

    /// Keeps a copy of what was read.
    pub fn keep(&self, before: Before, redirections: u64, key: &[u8], read: &Keepable) {
        let Some(left) = read.left.filter(|_| !self.freshness.is_over()) else { return };
        let Keepable { value, tags, load_time, number, .. } = read;
        // The reply may be late: its times count from before its request.
        let at = |time: Duration| before.at.later(time);
        let ends = left.into_iter().chain(self.ttl).min().map_or(Deadline::NEVER, at);
        let limit = self.freshness.limit().map_or(Deadline::NEVER, at);
        let unconfirmed = number.filter(|_| limit != Deadline::NEVER).map(|number| (limit, number));
        let ends = if unconfirmed.is_some() { ends } else { ends.min(limit) };
        let copy = NearEntry { key, value: value.as_bytes(), tags, ends, unconfirmed, load_time: *load_time };
        let is_kept = before.redirections == redirections
            && !ends.min(limit).has_passed()
            && self.front.keep(&copy, || self.guards.allows(before.token, key, tags));
        if is_kept {
            self.fills.fetch_add(1, Relaxed);
        } else {
            self.revoked.fetch_add(1, Relaxed);
        }
    }

    /// Returns the copy of a key if it is served again once the store has confirmed it.
    pub fn unconfirmed(&self, key: &[u8]) -> Option<Unconfirmed> {
        self.freshness.limit().and_then(|_| self.front.unconfirmed(key))
    }

    /// Serves a copy again, which the store has confirmed since `before`.
    pub fn confirm(&self, before: Before, key: &[u8], copy: &Unconfirmed) {
        let is_allowed = || self.guards.allows(before.token, key, &copy.tags);
        let until = self.freshness.limit().map(|time| before.at.later(time)).filter(|until| !until.has_passed());
        if until.is_some_and(|until| self.front.confirm(key, copy, until, is_allowed)) {
            self.confirmed.fetch_add(1, Relaxed);
        }
    }

    /// Begins a change in this process: copies of what it may change are removed now, and none is kept until it has ended.
    pub fn begin(&self, change: &Change<'_>) -> Writing<'_> {
        let writing = self.guards.begin(change);
        match change {
            Change::Keys(keys) => keys.iter().for_each(|key| self.front.remove(key)),
            Change::Tags(tags) => {
                let tags: Vec<u64> = tags.iter().map(|tag| tag_hash(tag)).collect();
                self.front.invalidate(&tags);
            }
            Change::Hashes(tags) => self.front.invalidate(tags),
            Change::Patterns(patterns) => self.front.remove_matching(patterns),
            Change::Flush => self.front.flush(),
        }
        writing
    }

    /// Removes the copy of a key that has changed in the store, and wakes a caller that waits for its load.
    pub fn changed_key(&self, key: &[u8]) {
        self.guards.mark_key(key);
        self.front.remove(key);
        self.watches.wake(key);
    }

    /// Removes the copies that have one of these tags, whose versions have changed in the store.
    pub fn changed_tags(&self, tags: &[u64]) {
        tags.iter().for_each(|tag| self.guards.mark_tag(*tag));
        self.front.invalidate(tags);
    }

    /// Removes all copies: anything may have changed in the store.
    pub fn changed_all(&self) {
        self.guards.mark_all();
        self.front.flush();
        self.freshness.flushed();
    }

    /// Serves each copy for `max_staleness` from now on: nothing tells of all changes.
    pub fn limit(&self) {
        // In this order no copy is kept for longer, and none from before is served.
        self.freshness.set_limited();
        self.changed_all();
        self.freshness.serve_limited();
    }

    /// Removes all copies for good.
    pub fn close(&self) {
        self.freshness.end();
        self.front.close();
    }

    /// Returns the history.
    pub fn activity(&self) -> NearActivity {
        NearActivity {
            usage: self.front.usage(),
            hits: self.front.hits(),
            fills: self.fills.load(Relaxed),
            revoked: self.revoked.load(Relaxed),
            confirmed: self.confirmed.load(Relaxed),
            staleness: self.freshness.staleness(),
            is_fresh: !self.freshness.is_over(),
            mode: match (self.has_sources, self.freshness.limit()) {
                (true, None) => "tracking",
                (true, Some(_)) => "channel",
                (false, _) => "time",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Instant;

    use super::*;
    use crate::backend::memory::Unconfirmed;

    const LONG: Duration = Duration::from_secs(100);

    fn copies(max_staleness: Duration) -> Copies {
        Copies::new(&NearConfig { max_staleness, ..NearConfig::default() }, false, Arc::default())
    }

    fn read(value: &[u8], number: Option<u64>) -> Keepable {
        Keepable { value: value.into(), tags: vec![7], left: Some(None), load_time: Duration::ZERO, number }
    }

    fn kept(copies: &Copies, key: &[u8]) -> Option<Vec<u8>> {
        copies.get(key).map(|value| value.as_bytes().to_vec())
    }

    #[test]
    fn a_reply_that_was_overtaken_by_a_change_is_not_kept() {
        let copies = copies(LONG);
        let changes: [&dyn Fn(); 5] = [
            &|| copies.changed_key(b"a"),
            &|| copies.changed_tags(&[7]),
            &|| copies.changed_all(),
            &|| drop(copies.begin(&Change::Keys((&[&b"a"[..]][..]).into()))),
            &|| drop(copies.begin(&Change::Flush)),
        ];
        for change in changes {
            let before = copies.before(0);
            change();
            copies.keep(before, 0, b"a", &read(b"old", None));
            assert_eq!(kept(&copies, b"a"), None);
        }
        copies.keep(copies.before(0), 1, b"a", &read(b"old", None));
        assert_eq!(kept(&copies, b"a"), None, "it came from elsewhere");
        assert_eq!(copies.activity().revoked, 6);
        copies.keep(copies.before(0), 0, b"a", &read(b"new", None));
        assert_eq!(kept(&copies, b"a"), Some(b"new".to_vec()));
    }

    #[test]
    fn the_times_of_a_reply_count_from_before_its_request() {
        let (before, short) = (copies(LONG), Duration::from_millis(20));
        let moment = before.before(0);
        sleep(short);
        before.keep(moment, 0, b"a", &Keepable { left: Some(Some(short)), ..read(b"v", None) });
        assert_eq!(kept(&before, b"a"), None, "its time to live is over");
        let limited = copies(short);
        let moment = limited.before(0);
        sleep(short);
        limited.keep(moment, 0, b"a", &read(b"v", None));
        assert_eq!(kept(&limited, b"a"), None, "max_staleness is over");
    }

    #[test]
    fn a_copy_is_served_again_once_it_is_confirmed() {
        let short = Duration::from_millis(500);
        let copies = copies(short);
        copies.keep(copies.before(0), 0, b"a", &read(b"v", Some(9)));
        assert!(copies.unconfirmed(b"a").is_none(), "it is served");
        sleep(short);
        assert_eq!(kept(&copies, b"a"), None);
        let unconfirmed = || copies.unconfirmed(b"a").expect("it is there");
        let Unconfirmed { value, number, tags } = unconfirmed();
        assert_eq!((value.as_bytes(), number, &tags[..]), (&b"v"[..], 9, &[7][..]));
        let before = copies.before(0);
        copies.changed_tags(&[7]);
        copies.confirm(before, b"a", &Unconfirmed { value, number, tags });
        assert_eq!(kept(&copies, b"a"), None, "its tag has changed meanwhile");
        copies.keep(copies.before(0), 0, b"a", &read(b"w", Some(10)));
        sleep(short);
        let copy = unconfirmed();
        copies.keep(copies.before(0), 0, b"a", &read(b"w", Some(11)));
        sleep(short);
        copies.confirm(copies.before(0), b"a", &copy);
        assert_eq!(kept(&copies, b"a"), None, "another copy is there");
        copies.confirm(copies.before(0), b"a", &unconfirmed());
        assert_eq!(kept(&copies, b"a"), Some(b"w".to_vec()));
        assert_eq!(copies.activity().confirmed, 1);
    }

    #[test]
    fn a_copy_that_is_confirmed_does_not_outlive_its_entry() {
        let (short, life) = (Duration::from_millis(40), Duration::from_millis(120));
        let copies = copies(short);
        copies.keep(copies.before(0), 0, b"a", &Keepable { left: Some(Some(life)), ..read(b"v", Some(9)) });
        let end = Instant::now() + life;
        while Instant::now() < end {
            if let Some(copy) = copies.unconfirmed(b"a") {
                copies.confirm(copies.before(0), b"a", &copy);
            }
            sleep(Duration::from_millis(1));
        }
        assert!(kept(&copies, b"a").is_none() && copies.unconfirmed(b"a").is_none());
    }
}
