//! Fuzzy search: the keys most like a query, best first.
//!
//! Likeness is the partial ratio of `rapidfuzz` 3 from `PyPI` (`fuzz.partial_ratio`), on bytes. The
//! shorter string is laid on every stretch of the longer one that is as long as itself, and on the
//! shorter stretches at its two ends. The best normalised indel similarity of those, 0 to 100, is
//! the score. When both are equally long, each is laid on the other.

mod comb;
mod lanes;
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

/// One key that was found, with how like the query it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The key, as it was offered.
    pub key: Box<[u8]>,
    /// The partial ratio of query and key, 0 to 100; 100 means that one holds the other.
    pub score: f64,
}

/// A running search: offer it every key, then take the best.
///
/// It is used by one thread at a time. A key that is offered twice comes out once, but may have taken the place of
/// another unless `begin_again` was called before.
///
/// With `m` bytes in the shorter and `n` in the longer of query and key, a key costs about `n`
/// steps when a bound shows that it cannot be kept, else `m × (n + m) / 4`. When `m` is over 64 the
/// bound costs `m × n / 16` steps and the rest `m × n`: about 0.1 s and 1.5 s for 64 KiB against
/// 64 KiB, both twice when they are equally long. The work ends at the time that `offer` is given,
/// also within a key. Memory, in addition to the kept keys, is up to some forty
/// times the longest string.
pub struct Search {
    /// Boxed: its tables are large, and a search may run on a small stack.
    scorer: Box<Scorer>,
    threshold: f64,
    limit: usize,
    kept: BinaryHeap<Ranked>,
    pace: Pace,
    /// The keys of `kept`, once keys may come again.
    known: Option<HashSet<Box<[u8]>>>,
}

impl Search {
    /// Starts a search for `query`.
    ///
    /// A key that scores under `threshold`, 0 to 100, never matches; at 0 every key does. At most
    /// `limit` keys are kept. An empty query scores 100 with an empty key and 0 with any other.
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

    /// Lets keys that were offered before be offered again from now on.
    pub fn begin_again(&mut self) {
        let kept = &self.kept;
        self.known.get_or_insert_with(|| kept.iter().map(|ranked| ranked.0.key.clone()).collect());
    }

    /// Scores one key, and keeps it if it is among the best so far.
    ///
    /// # Errors
    ///
    /// [`OutOfTime`] when the clock passes `until` before the key is scored. The clock is read now and then only, so
    /// that short keys may be scored a few milliseconds later still.
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

    /// The matches, best first; equal scores by key, ascending bytes.
    #[must_use]
    pub fn finish(self) -> Vec<Match> {
        let ranked = self.kept.into_sorted_vec().into_iter();
        let mut matches: Vec<Match> = ranked.map(|ranked| ranked.0).collect();
        matches.dedup_by(|one, other| one.key == other.key);
        matches
    }

    /// The least score with which `key` would be kept; over 100 when none would do.
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

/// The partial ratio of one pair, 0 to 100, which is what [`Search`] scores with.
///
/// The order of the two does not matter. Two empty strings score 100, an empty one and another 0.
#[must_use]
pub fn partial_ratio(a: &[u8], b: &[u8]) -> f64 {
    // Without an end it cannot run out of time.
    Scorer::new(a).score(b, 0.0, None).unwrap_or_default()
}

/// A match in the order of results: the better is the less, so the worst is on top of the heap.
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
