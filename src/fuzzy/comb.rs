//! The LCS of a needle of any length and every window of a haystack, by combing seaweed.
//!
//! Source: Tiskin, "Semi-local string comparison: algorithmic techniques and applications" (2008). On the grid of
//! needle × haystack one strand enters at the top of each column and one at the left of each row; they run down and
//! right. In a cell whose bytes differ, two strands cross if they have not crossed before; otherwise they turn away
//! from each other. Then the LCS of the needle and `haystack[from..to]` is `to - from`, minus the strands that enter at
//! the top at `from` or later and leave at the bottom before `to`. So one pass over the grid serves all windows.

use super::pace::{OutOfTime, Until, check};
use super::score::Windows;

/// Number of rows that are combed together: few enough for the first-level cache, enough for vectors.
const ROWS: usize = 256;

/// A strand that entered at the left. All of them have one number, because no window begins left of the haystack; those
/// that entered at the top are numbered from 1.
const FROM_LEFT: i32 = 0;

/// The byte and the strand of a column outside the haystack. No strand turns there.
const OUTSIDE: (i32, i32) = (-1, i32::MAX);

/// Writes the LCS of each window to `lcs`.
pub(super) fn window_lcs(
    needle: &[u8],
    haystack: &[u8],
    windows: Windows,
    until: Until,
    lcs: &mut Vec<usize>,
) -> Result<(), OutOfTime> {
    let strands = comb(needle, haystack, until)?;
    lcs.clear();
    let mut slide = Slide::new(&strands);
    for window in 0..windows.count() {
        slide.to(windows.shortest() + window);
        slide.from(window.saturating_sub(windows.margin));
        lcs.push(slide.lcs());
    }
    Ok(())
}

/// Returns, for each column, the strand that leaves at its bottom.
fn comb(needle: &[u8], haystack: &[u8], until: Until) -> Result<Vec<i32>, OutOfTime> {
    // A diagonal begins and ends outside the haystack, by all rows but one.
    let outside = ROWS.min(needle.len()).saturating_sub(1);
    let bytes = haystack.iter().map(|&byte| i32::from(byte));
    let bytes = surround(bytes, OUTSIDE.0, outside);
    let entering = (FROM_LEFT + 1..=i32::MAX).take(haystack.len());
    let mut strands = surround(entering, OUTSIDE.1, outside);
    for rows in needle.chunks(ROWS) {
        check(until)?;
        comb_rows(rows, &bytes, &mut strands);
    }
    Ok(strands.into_iter().skip(outside).take(haystack.len()).collect())
}

fn surround(inner: impl Iterator<Item = i32>, outer: i32, count: usize) -> Vec<i32> {
    let outer = std::iter::repeat_n(outer, count);
    outer.clone().chain(inner).chain(outer).collect()
}

/// Combs by diagonals, because the cells of a diagonal do not depend on each other. The last row comes first, so that
/// columns ascend along a diagonal.
fn comb_rows(rows: &[u8], bytes: &[i32], strands: &mut [i32]) {
    let rows: Vec<i32> = rows.iter().rev().map(|&byte| i32::from(byte)).collect();
    let mut rightward = vec![FROM_LEFT; rows.len()];
    for (column, bytes) in bytes.windows(rows.len()).enumerate() {
        let downward = strands.get_mut(column..column + rows.len());
        comb_diagonal(&rows, bytes, &mut rightward, downward.unwrap_or_default());
    }
}

fn comb_diagonal(rows: &[i32], bytes: &[i32], rightward: &mut [i32], downward: &mut [i32]) {
    let cells = rows.iter().zip(bytes);
    let strands = rightward.iter_mut().zip(downward);
    for ((row, byte), (right, down)) in cells.zip(strands) {
        let turn = row == byte || *right > *down;
        // Not an `if`: half as fast.
        let change = (*right ^ *down) & -i32::from(turn);
        *right ^= change;
        *down ^= change;
    }
}

/// A window that slides along the haystack and counts the strands within it.
struct Slide<'a> {
    strands: &'a [i32],
    exits: Vec<usize>,
    from: usize,
    to: usize,
    inside: usize,
}

impl<'a> Slide<'a> {
    fn new(strands: &'a [i32]) -> Self {
        Slide { strands, exits: exits(strands), from: 0, to: 0, inside: 0 }
    }

    /// Moves the end of the window right, to `end` or the haystack's end.
    fn to(&mut self, end: usize) {
        let end = end.min(self.strands.len());
        let leaving = self.strands.get(self.to..end).unwrap_or_default();
        let within = |&&strand: &&i32| entry(strand).is_some_and(|entry| entry >= self.from);
        self.inside += leaving.iter().filter(within).count();
        self.to = end;
    }

    /// Moves the start of the window right, to `start`.
    fn from(&mut self, start: usize) {
        let entering = self.exits.get(self.from..start).unwrap_or_default();
        self.inside -= entering.iter().filter(|&&exit| exit < self.to).count();
        self.from = start;
    }

    fn lcs(&self) -> usize {
        self.to.saturating_sub(self.from + self.inside)
    }
}

/// Returns, for each column, the column at whose bottom the strand from its top leaves, if it does.
fn exits(strands: &[i32]) -> Vec<usize> {
    let mut exits = vec![usize::MAX; strands.len()];
    for (exit, &strand) in strands.iter().enumerate() {
        if let Some(slot) = entry(strand).and_then(|entry| exits.get_mut(entry)) {
            *slot = exit;
        }
    }
    exits
}

/// Returns the column at whose top the strand entered, if it entered at the top.
fn entry(strand: i32) -> Option<usize> {
    usize::try_from(strand - FROM_LEFT - 1).ok()
}
