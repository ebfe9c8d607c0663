//! Computes the length of the longest common subsequence (LCS) of two strings, a word of bits at a time.
//!
//! Source: Hyyrö, "Bit-parallel LCS-length computation revisited" (2004). The state has one bit for each place of the
//! needle, all set at first; reading the haystack byte by byte clears one bit each time the LCS grows.
//!
//! The LCS of a needle of up to 64 bytes and every window of a haystack takes many windows at a time. Windows with
//! adjacent starts read adjacent bytes, so they advance in step, one lane each, and the compiler turns the lanes into
//! vector instructions.

use super::score::{Needle, Windows};

/// Number of places of the needle in one word.
pub(super) const WORD: usize = 64;

/// The bits of the places of each byte value in the needle.
pub(super) type Places = [u64; 256];

/// Returns the places of the first [`WORD`] bytes of `needle`.
pub(super) fn places(needle: &[u8]) -> Places {
    let mut places = [0; 256];
    for (place, &byte) in needle.iter().take(WORD).enumerate() {
        places[usize::from(byte)] |= 1 << place;
    }
    places
}

pub(super) fn lcs_length(needle: &[u8], haystack: &[u8]) -> usize {
    let mut carries = vec![false; haystack.len()];
    let words = needle.chunks(WORD);
    words.map(|word| take_in(word, haystack, &mut carries)).sum()
}

/// Reads the haystack into one word of the needle. The carry of each byte moves to the next word.
fn take_in(word: &[u8], haystack: &[u8], carries: &mut [bool]) -> usize {
    let places = places(word);
    let mut state = u64::MAX;
    for (&byte, carry) in haystack.iter().zip(carries) {
        let here = places[usize::from(byte)];
        let (sum, overflow) = state.carrying_add(state & here, *carry);
        state = sum | (state & !here);
        *carry = overflow;
    }
    state.count_zeros() as usize
}

/// Number of windows in step: enough to have work while a step waits for the previous one.
const LANES: usize = 16;

/// The places of each byte of the haystack, in the narrowest lane that holds the needle.
#[derive(Default)]
pub(super) struct LaneBuffers {
    narrow: Vec<u16>,
    middle: Vec<u32>,
    wide: Vec<u64>,
}

/// Writes the LCS of each window to `lcs`. Returns false if no LCS can be as long as the shortest window.
pub(super) fn window_lcs(
    needle: &Needle,
    haystack: &[u8],
    windows: Windows,
    buffers: &mut LaneBuffers,
    lcs: &mut Vec<usize>,
) -> bool {
    match windows.needle_len {
        0..=16 => run(&needle.places, haystack, windows, &mut buffers.narrow, lcs),
        17..=32 => run(&needle.places, haystack, windows, &mut buffers.middle, lcs),
        _ => run(&needle.places, haystack, windows, &mut buffers.wide, lcs),
    }
}

fn run<L: Lane>(
    needle: &Places,
    haystack: &[u8],
    windows: Windows,
    laid_out: &mut Vec<L>,
    lcs: &mut Vec<usize>,
) -> bool {
    let promising = lay_out(needle, haystack, windows, laid_out) >= windows.shortest();
    if promising {
        lcs.clear();
        for start in (0..windows.count()).step_by(LANES) {
            let places = laid_out.get(start..).unwrap_or_default();
            lcs.extend(take_in_lanes(places, windows.needle_len).map(Lane::zeros));
        }
        // The last lanes may be of windows that are not there.
        lcs.truncate(windows.count());
    }
    promising
}

/// Lays out the places of each byte of the haystack, with empty ones before and after them, so that all windows get the
/// same length. Returns how many places of the needle have their byte somewhere in the haystack: no LCS is longer.
fn lay_out<L: Lane>(needle: &Places, haystack: &[u8], windows: Windows, laid_out: &mut Vec<L>) -> usize {
    let mut present = 0;
    laid_out.clear();
    laid_out.resize(windows.margin, L::NONE);
    laid_out.extend(haystack.iter().map(|&byte| {
        let places = needle[usize::from(byte)];
        present |= places;
        L::truncate(places)
    }));
    laid_out.resize(laid_out.len() + windows.margin + LANES, L::NONE);
    present.count_ones() as usize
}

/// Reads the bytes of its window into each lane, starting with the first of `places`.
fn take_in_lanes<L: Lane>(places: &[L], window_len: usize) -> [L; LANES] {
    let mut lanes = [L::ALL; LANES];
    for places in places.array_windows::<LANES>().take(window_len) {
        for (lane, &places) in lanes.iter_mut().zip(places) {
            *lane = lane.step(places);
        }
    }
    lanes
}

/// The state of one window: a bit for each place of the needle.
trait Lane: Copy {
    const NONE: Self;
    const ALL: Self;

    fn truncate(places: u64) -> Self;

    fn step(self, places: Self) -> Self;

    fn zeros(self) -> usize;
}

macro_rules! lane {
    ($word:ty) => {
        impl Lane for $word {
            const NONE: Self = 0;
            const ALL: Self = Self::MAX;

            #[allow(clippy::cast_possible_truncation, reason = "the needle fits in the lane")]
            fn truncate(places: u64) -> Self {
                places as Self
            }

            fn step(self, places: Self) -> Self {
                self.wrapping_add(self & places) | (self & !places)
            }

            fn zeros(self) -> usize {
                self.count_zeros() as usize
            }
        }
    };
}

lane!(u16);
lane!(u32);
lane!(u64);
