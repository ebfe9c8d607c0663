//! Fuzzy search: finds the keys that are most similar to a query, best first.
//!
//! The score is the partial ratio of `rapidfuzz` 3 from `PyPI` (`fuzz.partial_ratio`), on bytes. The shorter string is
//! compared with every part of the longer one that has its length, and with the shorter parts at both ends. The score
//! is the best normalised indel similarity of these, 0 to 100. If both have the same length, each is compared with the
//! parts of the other.

mod comb;
mod lcs;
mod pace;
mod score;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};
use std::time::Instant;

pub use pace::OutOfTime;
use pace::Pace;
use score::{PERFECT, Scorer};

/// A key that was found, with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The key that was offered.
    pub key: Box<[u8]>,
    /// The partial ratio of query and key, 0 to 100. 100 means that one contains the other.
    pub score: f64,
}

/// A running search. Offer it every key, then take the best matches.
///
/// One thread uses it at a time. A key that is offered twice is returned once, but may have displaced another key
/// unless `begin_again` was called before.
///
/// With `m` bytes in the shorter and `n` in the longer of query and key, a key costs about `n` steps if a bound shows
/// that it cannot be kept, else `m × (n + m) / 4`. If `m` is over 64 the bound costs `m × n / 16` steps and the rest `m
/// × n`: about 0.1 s and 1.5 s for 64 KiB against 64 KiB, twice that if both have the same length. The work ends at the
/// deadline of `offer`, also within a key. Memory, in addition to the kept keys, is up to some forty times the longest
/// string.
pub struct Search {
    /// Boxed, because its tables are large and a search may run on a small stack.
    scorer: Box<Scorer>,
    threshold: f64,
    limit: usize,
    kept: BinaryHeap<Ranked>,
    pace: Pace,
    /// The keys of `kept`, once keys may be offered again.
    known: Option<HashSet<Box<[u8]>>>,
}

impl Search {
    /// Starts a search for `query`.
    ///
    /// A key with a score below `threshold`, 0 to 100, does not match; at 0 every key matches. At most `limit` keys are
    /// kept. An empty query scores 100 with an empty key and 0 with any other.
    #[must_use]
    pub fn new(query: &[u8], threshold: f64, limit: usize) -> Search {
        Search {
            scorer: Box::new(Scorer::new(query)),
            threshold,
            limit,
            // Not reserved: the limit may be far more than the keys that will come.
            kept: BinaryHeap::new(),
            pace: Pace::default(),
            known: None,
        }
    }

    /// Allows keys that were offered before to be offered again.
    pub fn begin_again(&mut self) {
        let kept = &self.kept;
        self.known.get_or_insert_with(|| kept.iter().map(|ranked| ranked.0.key.clone()).collect());
    }

    /// Scores one key, and keeps it if it is among the best so far.
    ///
    /// # Errors
    ///
    /// [`OutOfTime`] if the clock passes `until` before the key is scored. The clock is read at intervals, so short
    /// keys may be scored a few milliseconds later.
    pub fn offer(&mut self, key: &[u8], until: Instant) -> Result<(), OutOfTime> {
        let required = self.required_score(key);
        if required > PERFECT {
            return Ok(());
        }
        self.pace.spend(self.scorer.query(), key, Some(until))?;
        let score = self.scorer.score(key, required, Some(until))?;
        if score >= required {
            self.keep(key, score);
        }
        Ok(())
    }

    /// Returns the matches, best first. Equal scores are ordered by key, in ascending bytes.
    #[must_use]
    pub fn finish(self) -> Vec<Match> {
        let ranked = self.kept.into_sorted_vec().into_iter();
        let mut matches: Vec<Match> = ranked.map(|ranked| ranked.0).collect();
        matches.dedup_by(|one, other| one.key == other.key);
        matches
    }

    /// Returns the lowest score with which `key` would be kept, or over 100 if no score suffices.
    fn required_score(&self, key: &[u8]) -> f64 {
        if self.kept.len() < self.limit {
            return self.threshold;
        }
        match self.kept.peek() {
            None => f64::INFINITY,
            Some(worst) if key < &*worst.0.key => worst.0.score,
            Some(worst) => worst.0.score.next_up(),
        }
    }

    fn keep(&mut self, key: &[u8], score: f64) {
        if self.known.as_mut().is_some_and(|known| !known.insert(key.into())) {
            return;
        }
        if self.kept.len() >= self.limit
            && let Some((gone, known)) = self.kept.pop().zip(self.known.as_mut())
        {
            known.remove(&gone.0.key);
        }
        let key = key.into();
        self.kept.push(Ranked(Match { key, score }));
    }
}

/// Returns the partial ratio of a pair, 0 to 100: the score of [`Search`].
///
/// The order of the two does not matter. Two empty strings score 100; an empty and a non-empty one score 0.
#[must_use]
pub fn partial_ratio(a: &[u8], b: &[u8]) -> f64 {
    // Without an end it cannot run out of time.
    Scorer::new(a).score(b, 0.0, None).unwrap_or_default()
}

/// A match in the order of results: the better match is the smaller one, so the worst is on top of the heap.
struct Ranked(Match);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.0.score.total_cmp(&self.0.score);
        by_score.then_with(|| self.0.key.cmp(&other.0.key))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}
