//! A parking place of Linux: a word that the kernel compares before it waits.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};
use std::time::{Duration, Instant};

use rustix::thread::futex::{Flags, Timespec, wait, wake};

const NOTHING: u32 = 0;
const WOKEN: u32 = 1;
const PARKED: u32 = 2;

#[derive(Default)]
pub struct Place(AtomicU32);

impl Place {
    pub fn park(&self, deadline: Option<Instant>) {
        if self.0.swap(PARKED, Acquire) != WOKEN {
            let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
            // Whatever ended it, the caller looks for itself.
            let _ = wait(&self.0, Flags::PRIVATE, PARKED, left.as_ref());
        }
        self.0.swap(NOTHING, Acquire);
    }

    pub fn wake(&self) {
        if self.0.swap(WOKEN, Release) == PARKED {
            let _ = wake(&self.0, Flags::PRIVATE, 1);
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}
