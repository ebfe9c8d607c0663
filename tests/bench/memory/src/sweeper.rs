//! A million entries expire at once: what the sweeper makes a reader wait, compared with no sweeper.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::abi::{YC_TTL_NEVER, yc_size};
use crate::clock::Stopwatch;
use crate::contender::{Contender, Kind, yoked};
use crate::keys::{Key, VALUE_LEN, key};
use crate::options::Options;
use crate::processors;
use crate::results::Results;
use crate::rounds::{median, percentile};
use crate::table::Table;

const EXPIRING: usize = 1_000_000;
/// Entries that stay and are read.
const LIVE: usize = 10_000;
/// A get that took longer met something: a lock, or an interrupt.
const WAIT_NANOS: f64 = 2_000.0;
/// Filling is over by then.
const FILL_TIME: Duration = Duration::from_secs(4);
/// Sweeping is over by then, or is not done.
const SWEEP_TIME: Duration = Duration::from_secs(5);
const RUNS: usize = 3;

pub fn run(options: &Options, results: &mut Results) {
    if !options.wants(Kind::Yoked) {
        return;
    }
    let header = [
        "cleanup_interval",
        "gets",
        "p50, ns",
        "p99, ns",
        "p99.9, ns",
        "longest, µs",
        "waits",
        "median wait, µs",
        "swept after, ms",
    ];
    let mut table = Table::new(header);
    let mut watched_for = Duration::from_millis(300);
    let mut holds = Vec::new();
    for run in 0..RUNS {
        eprintln!("sweeper, run {}", run + 1);
        let swept = measure(options, "20ms", None);
        watched_for = swept.watched_for.unwrap_or(watched_for);
        let unswept = measure(options, "0", Some(watched_for));
        // Where few gets more than without a sweeper waited, their median says nothing of its holds.
        if swept.waits().len() > 2 * unswept.waits().len() {
            holds.push(2.0 * swept.median_wait() / 1e3);
        }
        table.row(swept.cells("20ms"));
        table.row(unswept.cells("0 (never)"));
    }
    if !holds.is_empty() {
        results.keep_figure("sweeper hold", "YokedCache", median(&holds));
    }
    let about = format!(
        "A thread reads {LIVE} entries that stay, from when {} others expire until they are swept. A wait is a get over \
         {:.0} µs, less the time other programs had its processor. What they did to the sweeper is in it, and waking up; so \
         twice the median wait is an upper bound of the median hold of a lock: a get meets a hold in its middle.",
        options.scaled(EXPIRING),
        WAIT_NANOS / 1e3
    );
    table.print("sweeper", &about);
}

/// Every get of a run, in nanoseconds, and how long the run was.
struct Watched {
    times: Vec<f64>,
    watched_for: Option<Duration>,
}

/// The sweeper inherits the processor of the thread that fills the cache; the reader has another, so that they meet.
fn measure(options: &Options, cleanup_interval: &str, fixed_time: Option<Duration>) -> Watched {
    let processors = processors::allowed();
    std::thread::scope(|scope| {
        let fill_and_watch = scope.spawn(|| {
            processors::stay_on(processors[0]);
            fill_and_watch(options, cleanup_interval, fixed_time, processors[processors.len() - 1])
        });
        fill_and_watch.join().expect("a thread that ends")
    })
}

fn fill_and_watch(
    options: &Options,
    cleanup_interval: &str,
    fixed_time: Option<Duration>,
    readers_processor: usize,
) -> Watched {
    let expiring = options.scaled(EXPIRING);
    let url = yoked::url(LIVE + expiring + expiring / 10, cleanup_interval);
    let cache = yoked::LINKED.contender(&url);
    let deadline = Instant::now() + FILL_TIME;
    fill(&cache, expiring, deadline);
    sleep(deadline.saturating_duration_since(Instant::now()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            processors::stay_on(readers_processor);
            read(&cache, &stop)
        });
        let watched_for = wait(&cache, deadline, fixed_time);
        stop.store(true, Relaxed);
        Watched { times: reader.join().expect("a reader that ends"), watched_for }
    })
}

fn fill(cache: &Contender, expiring: usize, deadline: Instant) {
    for number in 0..LIVE as u64 {
        cache.set(&key(number), &[7; VALUE_LEN], YC_TTL_NEVER, &[]);
    }
    for number in 0..expiring as u64 {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        cache.set(&key((LIVE as u64) + number), &[7; VALUE_LEN], left.as_millis() as i64, &[]);
    }
}

/// Waits until only the live are left; how long that took, if it happened.
fn wait(cache: &Contender, deadline: Instant, fixed_time: Option<Duration>) -> Option<Duration> {
    if let Some(time) = fixed_time {
        sleep(time);
        return None;
    }
    while size(cache) > LIVE as u64 {
        if deadline.elapsed() > SWEEP_TIME {
            return None;
        }
        sleep(Duration::from_millis(5));
    }
    Some(deadline.elapsed())
}

fn size(cache: &Contender) -> u64 {
    let mut entries = 0;
    // SAFETY: a cache and a place.
    unsafe { yc_size(cache.handle(), &raw mut entries, null_mut(), null_mut()) };
    entries
}

fn read(cache: &Contender, stop: &AtomicBool) -> Vec<f64> {
    let keys: Vec<Key> = (0..LIVE as u64).map(key).collect();
    let (mut buffer, mut times, mut stopwatch) = ([0; VALUE_LEN], Vec::with_capacity(1 << 22), Stopwatch::start());
    for key in keys.iter().cycle() {
        stopwatch.restart();
        cache.get_into(key, &mut buffer);
        times.push(stopwatch.nanos());
        if stop.load(Relaxed) || times.len() == times.capacity() {
            break;
        }
    }
    times
}

impl Watched {
    fn waits(&self) -> Vec<f64> {
        self.times.iter().copied().filter(|time| *time > WAIT_NANOS).collect()
    }

    /// Zero when nothing waited.
    fn median_wait(&self) -> f64 {
        let waits = self.waits();
        if waits.is_empty() { 0.0 } else { median(&waits) }
    }

    fn cells(&self, cleanup_interval: &str) -> Vec<String> {
        let mut times = self.times.clone();
        let mut at = |share, unit| format!("{:.0}", percentile(&mut times, share) / unit);
        let shares = [at(0.5, 1.0), at(0.99, 1.0), at(0.999, 1.0), at(1.0, 1e3)];
        let swept = self.watched_for.map_or_else(|| "–".to_owned(), |time| time.as_millis().to_string());
        let waits = [self.waits().len().to_string(), format!("{:.1}", self.median_wait() / 1e3), swept];
        let first = [cleanup_interval.to_owned(), times.len().to_string()];
        first.into_iter().chain(shares).chain(waits).collect()
    }
}
