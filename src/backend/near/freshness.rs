//! The time until which copies may be served: each source of changes has told of all that happened until a moment, and
//! copies are served until so long after it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::util::clock::{Deadline, Moment};
use crate::util::histogram::Histogram;
use crate::util::lock;

/// The freshness of all copies.
pub struct Freshness {
    max_staleness: Duration,
    /// True if nothing tells of all changes: each copy is served for `max_staleness`.
    is_limited: AtomicBool,
    /// The end of the time in which copies are served.
    until: AtomicU64,
    state: Mutex<State>,
    /// The first answer of the sources: whether they tell of changes.
    first: watch::Sender<Option<Result<()>>>,
    /// Times from a change to the moment at which it is known here.
    delays: Histogram,
    flushes: AtomicU64,
}

#[derive(Default)]
struct State {
    sources: HashMap<u64, Source>,
    /// The time since which a source is not connected.
    down_since: Option<Instant>,
    /// The sum of such times before.
    down: Duration,
}

/// A source of changes.
#[derive(Clone, Copy, Default)]
struct Source {
    /// The moment up to which it has told of all changes; `None` until it has.
    confirmed: Option<Moment>,
    /// True while it is not connected.
    is_lost: bool,
}

impl State {
    /// Returns true if all sources tell of changes now.
    fn are_connected(&self) -> bool {
        let is_connected = |source: &Source| source.confirmed.is_some() && !source.is_lost;
        !self.sources.is_empty() && self.sources.values().all(is_connected)
    }
}

/// The measured staleness.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Staleness {
    /// The number of delays that were measured.
    pub samples: u64,
    /// Percentiles of the delays and their maximum; `None` without samples.
    pub p50: Option<Duration>,
    /// See `p50`.
    pub p99: Option<Duration>,
    /// See `p50`.
    pub max: Option<Duration>,
    /// The time without a connection that tells of changes.
    pub disconnected: Duration,
    /// The number of times that all copies were removed.
    pub flushes: u64,
}

impl Freshness {
    /// Returns the freshness of copies whose sources have not told of anything yet; without sources they are served always.
    pub fn new(max_staleness: Duration, has_sources: bool) -> Self {
        let until = if has_sources { 0 } else { Deadline::NEVER.nanos() };
        let state = State { down_since: has_sources.then(Instant::now), ..State::default() };
        Self {
            max_staleness,
            is_limited: AtomicBool::new(!has_sources),
            until: AtomicU64::new(until),
            state: Mutex::new(state),
            first: watch::Sender::new((!has_sources).then_some(Ok(()))),
            delays: Histogram::default(),
            flushes: AtomicU64::new(0),
        }
    }

    /// Returns the time until which copies may be served.
    #[inline]
    pub fn until(&self) -> Deadline {
        Deadline::from_nanos(self.until.load(Relaxed))
    }

    /// Returns true if copies may not be served now.
    pub fn is_over(&self) -> bool {
        self.until().has_passed()
    }

    /// Returns the longest time for which a change may go unnoticed.
    pub fn max_staleness(&self) -> Duration {
        self.max_staleness
    }

    /// Returns the longest life of a copy; `None` while something tells of all changes.
    pub fn limit(&self) -> Option<Duration> {
        self.is_limited.load(Relaxed).then_some(self.max_staleness)
    }

    /// Limits copies to `max_staleness` from now on. No source counts any more, and no copy is served for the moment.
    pub fn set_limited(&self) {
        let mut state = self.lock();
        self.is_limited.store(true, Relaxed);
        self.until.store(0, Relaxed);
        state.sources.clear();
        if let Some(since) = state.down_since.take() {
            state.down += since.elapsed();
        }
    }

    /// Serves the copies that are limited.
    pub fn serve_limited(&self) {
        self.until.store(Deadline::NEVER.nanos(), Relaxed);
    }

    /// Replaces the sources. Those that are new have to tell of changes first.
    pub fn set_sources(&self, sources: impl Iterator<Item = u64>) {
        let mut state = self.lock();
        let known = std::mem::take(&mut state.sources);
        state.sources = sources.map(|source| (source, known.get(&source).copied().unwrap_or_default())).collect();
        self.renew(&state);
    }

    /// Notes that a source is connected, and has told of all changes until a moment.
    pub fn confirm(&self, source: u64, until: Moment) {
        let mut state = self.lock();
        if let Some(known) = state.sources.get_mut(&source) {
            *known = Source { confirmed: Some(until), is_lost: false };
        }
        let are_connected = state.are_connected();
        if are_connected && let Some(since) = state.down_since.take() {
            state.down += since.elapsed();
        }
        self.renew(&state);
        drop(state);
        if are_connected {
            self.answer(Ok(()));
        }
    }

    /// Notes that a source is not connected. The changes that it has told of count until their time is over.
    pub fn lose(&self, source: u64) {
        let mut state = self.lock();
        if let Some(known) = state.sources.get_mut(&source) {
            known.is_lost = true;
        }
        state.down_since.get_or_insert_with(Instant::now);
    }

    /// Serves no copy any more.
    pub fn end(&self) {
        self.lock().sources.clear();
        self.is_limited.store(false, Relaxed);
        self.until.store(0, Relaxed);
    }

    /// Notes whether changes will be told of, if no source was counted before.
    pub fn answer(&self, answer: Result<()>) {
        self.first.send_if_modified(|first| {
            let changes = first.as_ref().is_none_or(|first| first.is_ok() != answer.is_ok());
            if changes {
                *first = Some(answer);
            }
            changes
        });
    }

    /// Waits for the first answer of the sources.
    pub async fn answered(&self) -> Result<()> {
        let mut first = self.first.subscribe();
        let answer = first.wait_for(Option::is_some).await;
        answer.ok().and_then(|answer| answer.clone()).unwrap_or(Ok(()))
    }

    /// Returns the reason why no source tells of changes, if one has said so.
    pub fn refusal(&self) -> Option<Error> {
        self.first.borrow().as_ref()?.as_ref().err().cloned()
    }

    /// Returns why no copies are served, for people.
    pub fn reason(&self) -> String {
        match self.refusal() {
            Some(error) => format!("the near cache serves nothing: {error}"),
            None => "the near cache serves nothing: no server tells of changes at the moment".to_owned(),
        }
    }

    /// Notes the time from a change to the moment at which it is known here.
    pub fn measured(&self, delay: Duration) {
        self.delays.record(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes that all copies were removed.
    pub fn flushed(&self) {
        self.flushes.fetch_add(1, Relaxed);
    }

    /// Returns what was measured.
    pub fn staleness(&self) -> Staleness {
        let delays = self.delays.counts();
        let state = self.lock();
        Staleness {
            samples: delays.total(),
            p50: delays.quantile(0.5),
            p99: delays.quantile(0.99),
            max: delays.quantile(1.0),
            disconnected: state.down + state.down_since.map_or(Duration::ZERO, |since| since.elapsed()),
            flushes: self.flushes.load(Relaxed),
        }
    }

    fn renew(&self, state: &State) {
        if !self.is_limited.load(Relaxed) {
            let confirmed = state.sources.values().map(|source| source.confirmed).min().flatten();
            let until = confirmed.map_or(0, |at| at.later(self.max_staleness).nanos());
            self.until.store(until, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(100);

    #[test]
    fn copies_are_served_once_all_sources_have_told_of_changes() {
        let freshness = Freshness::new(LONG, true);
        assert!(freshness.is_over());
        freshness.set_sources([1, 2].into_iter());
        freshness.confirm(1, Moment::now());
        assert!(freshness.is_over());
        freshness.confirm(2, Moment::now());
        assert!(!freshness.is_over());
        freshness.set_sources([2, 3].into_iter());
        assert!(freshness.is_over());
        freshness.confirm(3, Moment::now());
        assert!(!freshness.is_over());
        freshness.end();
        assert!(freshness.is_over());
    }

    #[test]
    fn without_sources_each_copy_has_a_limit() {
        assert!(!Freshness::new(LONG, false).is_over());
        let freshness = Freshness::new(LONG, true);
        freshness.set_sources([1].into_iter());
        assert!(freshness.is_over() && freshness.limit().is_none());
        freshness.set_limited();
        assert!(freshness.is_over() && freshness.limit() == Some(LONG));
        freshness.serve_limited();
        assert!(!freshness.is_over());
        freshness.set_sources([2].into_iter());
        assert!(!freshness.is_over());
    }

    #[test]
    fn the_oldest_confirmation_counts() {
        let (first, short) = (Moment::now(), Duration::from_millis(5));
        let freshness = Freshness::new(short, true);
        freshness.set_sources([1, 2].into_iter());
        std::thread::sleep(short);
        freshness.confirm(1, Moment::now());
        freshness.confirm(2, first);
        assert!(freshness.is_over());
        let freshness = Freshness::new(LONG, true);
        freshness.set_sources([1, 2].into_iter());
        freshness.confirm(1, Moment::now());
        freshness.confirm(2, Moment::now());
        let disconnected = || freshness.staleness().disconnected;
        freshness.lose(1);
        assert!(!freshness.is_over(), "what is known stays true for a time");
        freshness.confirm(2, Moment::now());
        let before = disconnected();
        assert!(disconnected() > before, "one of them is still lost");
        freshness.confirm(1, Moment::now());
        let before = disconnected();
        assert_eq!(disconnected(), before);
    }

    #[test]
    fn a_refusal_is_known_until_a_source_tells_of_changes() {
        let freshness = Freshness::new(LONG, true);
        freshness.set_sources([1].into_iter());
        assert!(freshness.refusal().is_none());
        freshness.answer(Err(Error::new(crate::error::ErrorKind::Unsupported, "no")));
        assert!(freshness.refusal().is_some());
        freshness.confirm(1, Moment::now());
        assert!(freshness.refusal().is_none());
    }
}
