//! Computes the partial ratio of one query and many keys: a bound first, then the LCS of every window.
//!
//! The indel distance of two strings is the number of their bytes outside their longest common subsequence (LCS). So a
//! window of `w` bytes that has an LCS of `l` with a needle of `m` bytes scores `100 × (1 - (m + w - 2l) / (m + w))`.

use std::cmp::Ordering;

use memchr::memmem;

use super::comb;
use super::lcs::{LaneBuffers, Places, WORD, lcs_length, places, window_lcs};
use super::pace::{OutOfTime, Until};

/// The score of a key that contains the query, or that the query contains.
pub(super) const PERFECT: f64 = 100.0;

/// Scores keys against one query.
pub(super) struct Scorer {
    query: Needle,
    query_finder: memmem::Finder<'static>,
    /// The key, if it is the needle and the query is the haystack.
    key: Needle,
    buffers: Buffers,
}

/// Buffers that are reused for every key, to save their allocation.
#[derive(Default)]
struct Buffers {
    lanes: LaneBuffers,
    /// The LCS of each window.
    lcs: Vec<usize>,
}

impl Scorer {
    pub(super) fn new(query: &[u8]) -> Scorer {
        Scorer {
            query: Needle::new(query),
            query_finder: memmem::Finder::new(query).into_owned(),
            key: Needle::new(&[]),
            buffers: Buffers::default(),
        }
    }

    pub(super) fn query(&self) -> &[u8] {
        &self.query.bytes
    }

    /// Returns the score of `key`. If it is below `cutoff`, the result may be any score below `cutoff`.
    pub(super) fn score(&mut self, key: &[u8], cutoff: f64, until: Until) -> Result<f64, OutOfTime> {
        let order = key.len().cmp(&self.query.bytes.len());
        if key.is_empty() || self.query.bytes.is_empty() {
            return Ok(if order.is_eq() { PERFECT } else { 0.0 });
        }
        match order {
            Ordering::Greater => self.query_in_key(key, cutoff, until),
            Ordering::Less => self.key_in_query(key, cutoff, until),
            Ordering::Equal => self.either_in_other(key, cutoff, until),
        }
    }

    fn either_in_other(&mut self, key: &[u8], cutoff: f64, until: Until) -> Result<f64, OutOfTime> {
        let score = self.query_in_key(key, cutoff, until)?;
        if score >= PERFECT {
            return Ok(score);
        }
        Ok(score.max(self.key_in_query(key, cutoff.max(score), until)?))
    }

    fn query_in_key(&mut self, key: &[u8], cutoff: f64, until: Until) -> Result<f64, OutOfTime> {
        if self.query_finder.find(key).is_some() {
            return Ok(PERFECT);
        }
        best_window(&self.query, key, cutoff, until, &mut self.buffers)
    }

    fn key_in_query(&mut self, key: &[u8], cutoff: f64, until: Until) -> Result<f64, OutOfTime> {
        self.key.set(key);
        best_window(&self.key, &self.query.bytes, cutoff, until, &mut self.buffers)
    }
}

/// The string that is compared with the windows of the other.
pub(super) struct Needle {
    pub(super) bytes: Vec<u8>,
    /// The places of a needle that fits in one word. A longer needle has none.
    pub(super) places: Places,
}

impl Needle {
    fn new(bytes: &[u8]) -> Needle {
        Needle { bytes: bytes.into(), places: places(bytes) }
    }

    fn set(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.places = places(bytes);
    }
}

/// The windows of the haystack that the needle is compared with: all of the needle's length, and at both ends those
/// that lack up to `margin` bytes of it.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    /// At least 1.
    pub(super) needle_len: usize,
    /// At least the needle's length.
    pub(super) haystack_len: usize,
    /// Less than the needle's length.
    pub(super) margin: usize,
}

impl Windows {
    pub(super) fn count(self) -> usize {
        self.full_count() + 2 * self.margin
    }

    pub(super) fn shortest(self) -> usize {
        self.needle_len - self.margin
    }

    fn full_count(self) -> usize {
        self.haystack_len - self.needle_len + 1
    }
}

fn best_window(
    needle: &Needle,
    haystack: &[u8],
    cutoff: f64,
    until: Until,
    buffers: &mut Buffers,
) -> Result<f64, OutOfTime> {
    let needle_len = needle.bytes.len();
    let margin = needle_len - least_lcs(needle_len, cutoff);
    let windows = Windows { needle_len, haystack_len: haystack.len(), margin };
    let is_found = find_lcs(needle, haystack, windows, until, buffers)?;
    Ok(if is_found { best_score(windows, &buffers.lcs) } else { 0.0 })
}

/// Finds the LCS of each window. Returns false if no LCS can be as long as the shortest window, which is the smallest
/// useful one.
fn find_lcs(
    needle: &Needle,
    haystack: &[u8],
    windows: Windows,
    until: Until,
    buffers: &mut Buffers,
) -> Result<bool, OutOfTime> {
    let lcs = &mut buffers.lcs;
    if needle.bytes.len() <= WORD {
        return Ok(window_lcs(needle, haystack, windows, &mut buffers.lanes, lcs));
    }
    let promising = lcs_length(&needle.bytes, haystack) >= windows.shortest();
    if promising {
        comb::window_lcs(&needle.bytes, haystack, windows, until, lcs)?;
    }
    Ok(promising)
}

/// Returns the smallest LCS, at least 1, with which a needle can reach `cutoff`. It is also the shortest window that
/// can: a window with an LCS of `l` has `l` bytes or more, and scores `200 × l / (needle + l)` at most.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
fn least_lcs(needle_len: usize, cutoff: f64) -> usize {
    // A hair less than the exact value is rounded up, so that no error of rounding adds a byte.
    const HAIR: f64 = 1e-6;
    let part = (cutoff / PERFECT).clamp(0.0, 1.0);
    let least = float(needle_len) * part / (2.0 - part) - HAIR;
    (least.ceil() as usize).clamp(1, needle_len)
}

fn best_score(windows: Windows, lcs: &[usize]) -> f64 {
    let needle_len = windows.needle_len;
    let full = lcs.iter().skip(windows.margin).take(windows.full_count());
    let best_full = similarity(full.max().copied().unwrap_or(0), needle_len, needle_len);
    let lengths = windows.shortest()..needle_len;
    let ends = lcs.iter().zip(lengths.clone()).chain(lcs.iter().rev().zip(lengths));
    ends.map(|(&lcs, length)| similarity(lcs, needle_len, length)).fold(best_full, f64::max)
}

/// Rounds in the same steps as `rapidfuzz`, so that a score on the threshold stays on it.
fn similarity(lcs: usize, needle_len: usize, window_len: usize) -> f64 {
    let total = needle_len + window_len;
    (1.0 - float(total - 2 * lcs) / float(total)) * PERFECT
}

#[expect(clippy::cast_precision_loss, reason = "no string is as long as 2^52 bytes")]
fn float(length: usize) -> f64 {
    length as f64
}
