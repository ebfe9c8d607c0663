//! Computes the length of the longest common subsequence (LCS) of two strings, a word of bits at a time.
//!
//! Source: Hyyrö, "Bit-parallel LCS-length computation revisited" (2004). The state has one bit for each place of the
//! needle, all set at first; reading the haystack byte by byte clears one bit each time the LCS grows.

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
