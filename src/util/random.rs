//! Random numbers: unpredictable ones from the system, cheap ones for jitter, and the seeds of hash functions.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use once_cell::race::OnceBox;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, ErrorKind, Result};

/// Returns 64 random bits from the system, such as a version that must never come twice.
pub fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(ErrorKind::Server, "the system provides no random numbers".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Returns a random number that must neither be unpredictable nor fail. Costs no system call.
pub fn cheap() -> u64 {
    RandomState::new().hash_one(0u8)
}

/// Returns a random time between half of this one and all of it: clients that met the same failure come back one
/// after another.
pub fn jittered(time: Duration) -> Duration {
    #[allow(clippy::cast_precision_loss)]
    let share = cheap() as f64 / u64::MAX as f64;
    time.mul_f64(0.5 + share / 2.0)
}

/// The seed that all hash functions of this process share. `foldhash` has one of its own, which the first thread
/// makes under a lock: a fork meanwhile would leave the child waiting for it forever.
static SHARED: OnceBox<SharedSeed> = OnceBox::new();

/// Returns a hash function with seeds of its own.
pub fn hasher() -> SeedableRandomState {
    let shared = SHARED.get_or_init(|| Box::new(SharedSeed::from_u64(cheap())));
    SeedableRandomState::with_seed(cheap(), shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_hash_functions_differ_from_call_to_call() {
        assert_ne!(random().unwrap(), random().unwrap());
        assert_ne!(cheap(), cheap());
        assert_ne!(hasher().hash_one(7), hasher().hash_one(7));
        let one = hasher();
        assert_eq!(one.hash_one(7), one.hash_one(7));
    }

    #[test]
    fn a_jittered_time_is_half_to_all_of_it() {
        let time = Duration::from_millis(100);
        for _ in 0..100 {
            assert!((time / 2..=time).contains(&jittered(time)));
        }
    }
}
