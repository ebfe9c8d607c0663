//! Functions that many modules share: locks, milliseconds, numbers as text, and random numbers.

pub mod allocation;
pub mod byte_strings;
pub mod clock;
pub mod glob;
pub mod histogram;
pub mod ordered;
pub mod random;
pub mod shown;
pub mod wakeup;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{LockResult, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks a mutex. A thread that panicked while it held the lock changes nothing: each change under a lock of this
/// library is complete or harmless at every step.
#[inline]
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// Returns the guard of a lock or of a wait for a condition, also after a panic under the lock.
#[inline]
pub fn unpoisoned<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// Returns the number of processors of this process, as the first call found it: to find it takes twenty system calls.
pub fn processors() -> usize {
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    match FOUND.load(Relaxed) {
        0 => {
            let found = std::thread::available_parallelism().map_or(1, usize::from);
            FOUND.store(found, Relaxed);
            found
        }
        found => found,
    }
}

/// Returns a time in whole milliseconds, without the part of one. A time beyond `u64` is cut.
#[inline]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Appends a number in decimal digits.
#[inline]
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Reads the decimal number at the beginning of a text. Returns it and the rest of the text, or `None` if the text does not
/// begin with a digit or the number exceeds `u64`.
#[inline]
pub fn split_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    let mut len = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        len += 1;
    }
    (len > 0).then(|| (number, &text[len..]))
}

/// Returns the number of random inputs of a test: `PROPTEST_CASES`, else a few thousand.
#[cfg(test)]
pub fn test_cases() -> usize {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(4000)
}

/// Prints the time of a step here and in a crate, medians of interleaved rounds.
#[cfg(test)]
pub fn compare_speed(name: &str, mut ours: impl FnMut(), mut theirs: impl FnMut()) {
    const ROUNDS: usize = 31;
    let nanos = |step: &mut dyn FnMut()| {
        let (started, mut steps) = (std::time::Instant::now(), 0.0);
        while started.elapsed() < Duration::from_millis(10) {
            (0..1000).for_each(|_| step());
            steps += 1000.0;
        }
        started.elapsed().as_secs_f64() * 1e9 / steps
    };
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (nanos(&mut ours), nanos(&mut theirs))).collect();
    let mut median = |key: fn(&(f64, f64)) -> f64| {
        rounds.sort_by(|one, other| key(one).total_cmp(&key(other)));
        key(&rounds[ROUNDS / 2])
    };
    let (ours, theirs, ratio) = (median(|it| it.0), median(|it| it.1), median(|it| it.1 / it.0));
    // The test runner leaves a line unfinished.
    println!("\n| {name} | {ours:.0} ns | {theirs:.0} ns | {ratio:.1} |");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_outlives_a_panic_under_it() {
        let mutex = Mutex::new(1);
        let panicked = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = lock(&mutex);
                panic!("as a test asks");
            });
            holder.join().is_err()
        });
        assert!(panicked && mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 1);
    }

    #[test]
    fn numbers_are_appended_in_decimal_digits() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = b"$".to_vec();
            push_number(&mut out, number);
            assert_eq!(out, format!("${number}").into_bytes());
        }
    }

    #[test]
    fn milliseconds_are_whole_and_bounded() {
        assert_eq!(millis(Duration::from_micros(1_999)), 1);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
