//! Clocks: one fine enough for a single get, and one of what a thread lost to others.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Ticks. The fences keep what is measured inside, and what is not outside.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 processor has both.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn ticks() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Ticks as nanoseconds.
pub fn nanos(ticks: f64) -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    ticks * RATE.get_or_init(nanos_per_tick)
}

fn nanos_per_tick() -> f64 {
    let (started, first) = (Instant::now(), ticks());
    std::thread::sleep(Duration::from_millis(100));
    started.elapsed().as_nanos() as f64 / (ticks() - first) as f64
}

/// Times what one thread does, less what other work on the machine took of it.
pub struct Stopwatch {
    waited: Duration,
    started: u64,
}

/// Only what takes longer can hold a turn of another program.
const LONG_NANOS: f64 = 2_000.0;

impl Stopwatch {
    pub fn start() -> Self {
        Self { waited: waited_for_processor(), started: ticks() }
    }

    /// Begins again; cheap, as it leaves the other programs to `nanos`.
    #[inline]
    pub fn restart(&mut self) {
        self.started = ticks();
    }

    /// Since it was started.
    #[inline]
    pub fn nanos(&mut self) -> f64 {
        let took = nanos((ticks() - self.started) as f64);
        if took > LONG_NANOS { took - self.lost().min(took) } else { took }
    }

    /// What other programs took since this was last asked.
    fn lost(&mut self) -> f64 {
        let waited = waited_for_processor();
        let lost = waited - self.waited;
        self.waited = waited;
        lost.as_nanos() as f64
    }
}

/// What reading the clock itself takes: the median of many empty measurements.
pub fn cost_in_ticks() -> u64 {
    let mut empty: Vec<u64> = (0..100_001).map(|_| ticks().abs_diff(ticks())).collect();
    empty.sort_unstable();
    empty[empty.len() / 2]
}

/// How long this thread could have run, and no processor was free.
pub fn waited_for_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
