//! Numbers that tell each set of an entry from every other: in this process, in its children, and in other processes.
//!
//! A process draws a random start, and counts from it. A child of a fork draws a start of its own. No number depends on
//! a clock, and none costs a system call.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::error::Result;
use crate::exec::fork;
use crate::util::random::random;

/// The process that drew the start: its generation plus one, or 0.
static OWNER: AtomicU64 = AtomicU64::new(0);
static START: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Returns a number that was never returned before. Fails if the system provides no random numbers for the start.
pub fn next() -> Result<u64> {
    let owner = u64::from(fork::generation()) + 1;
    if OWNER.load(Acquire) != owner {
        draw(owner)?;
    }
    let count = COUNT.fetch_add(1, Relaxed);
    Ok(mixed(START.load(Relaxed).wrapping_add(count)))
}

/// Draws the start of this process. If two threads draw one, either may be used: the count continues.
#[cold]
fn draw(owner: u64) -> Result<()> {
    START.store(random()?, Relaxed);
    OWNER.store(owner, Release);
    Ok(())
}

/// Spreads consecutive numbers over all bits; no two numbers have one result (the finaliser of `SplitMix64`, by Steele,
/// Lea and Flood).
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn no_number_comes_twice_from_any_thread() {
        let numbers = || (0..20_000).map(|_| next().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(numbers)).collect();
        let all: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }

    #[test]
    fn a_child_of_a_fork_has_a_start_of_its_own() {
        next().unwrap();
        let before = START.load(Relaxed);
        draw(7).unwrap();
        assert_ne!(START.load(Relaxed), before);
        // Another owner than this process: the next call draws again.
        next().unwrap();
        assert_eq!(OWNER.load(Relaxed), u64::from(fork::generation()) + 1);
    }

    #[test]
    fn mixing_is_one_to_one() {
        let undo = |mixed: u64| {
            let unshift = |number: u64, by: u32| (0..64 / by + 1).fold(number, |undone, _| number ^ (undone >> by));
            let inverse =
                |factor: u64| (0..6).fold(factor, |it, _| it.wrapping_mul(2u64.wrapping_sub(factor.wrapping_mul(it))));
            let number = unshift(mixed, 31).wrapping_mul(inverse(0x94D0_49BB_1331_11EB));
            let number = unshift(number, 27).wrapping_mul(inverse(0xBF58_476D_1CE4_E5B9));
            unshift(number, 30)
        };
        for number in [0, 1, 2, 3, u64::MAX, 1 << 63, 0x0123_4567_89AB_CDEF] {
            assert_eq!(undo(mixed(number)), number);
        }
    }
}
