//! A tag of many entries is invalidated: what the caller waits, and what a concurrent reader waits.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::abi::{YC_OK, YC_TTL_NEVER, yc_invalidate_tag};
use crate::clock::Stopwatch;
use crate::contender::{Contender, Kind, give_up};
use crate::keys::{Key, VALUE_LEN, key};
use crate::options::Options;
use crate::results::Results;
use crate::rounds::median;
use crate::table::Table;
use crate::workload::slice;

const MEMBERS: usize = 100_000;
const OTHERS: usize = 1_000_000;
/// Entries without the tag that the reader asks for.
const READ: usize = 10_000;
const TAG: &[u8] = b"everyone";
const RUNS: usize = 9;
/// The reader is watched from so long before until so long after.
const MARGIN: Duration = Duration::from_millis(1);

/// What one invalidation took, in nanoseconds.
struct Run {
    took: f64,
    longest_get: f64,
}

pub fn run(options: &Options, results: &mut Results) {
    if !options.wants(Kind::Yoked) {
        return;
    }
    let header = [
        "entries of the tag",
        "others",
        "counted",
        "µs",
        "ns each",
        "a reader's longest get, µs",
        "beside nothing, µs",
    ];
    let mut table = Table::new(header);
    for others in [READ, options.scaled(OTHERS)] {
        let cache = filled(others);
        for counted in [false, true] {
            eprintln!("invalidate, {others} others, {}", if counted { "counted" } else { "not counted" });
            let cells = measure(&cache, options.scaled(MEMBERS), others, counted, results);
            table.row(cells);
        }
    }
    let about = "yc_invalidate_tag, medians. The caller's time is taken alone; the longest get of a thread that reads \
                 entries without the tag is taken in runs of their own, from 1 ms before to 1 ms after, and for \
                 comparison as long beside nothing.";
    table.print("invalidate", about);
}

fn filled(others: usize) -> Contender {
    let cache = Kind::Yoked.open(others + MEMBERS + MEMBERS / 2, None);
    for number in 0..others as u64 {
        cache.set(&key(number), &[7; VALUE_LEN], YC_TTL_NEVER, &[]);
    }
    cache
}

fn measure(cache: &Contender, members: usize, others: usize, counted: bool, results: &mut Results) -> Vec<String> {
    let alone: Vec<f64> = (0..RUNS).map(|_| invalidate(cache, members, counted)).collect();
    let read: Vec<Run> = (0..RUNS).map(|_| beside_reader(cache, members, counted)).collect();
    let quiet: Vec<f64> = (0..RUNS).map(|_| longest_get(cache, || quiet_for(&read)).1).collect();
    let took = median(&alone);
    let longest = median(&read.iter().map(|run| run.longest_get).collect::<Vec<f64>>());
    let each = took / members as f64;
    match (counted, others > READ) {
        (false, false) => results.keep_figure("invalidate", "YokedCache", took / 1e3),
        (false, true) => results.keep_figure("invalidate in a million", "YokedCache", took / 1e3),
        (true, false) => results.keep_figure("invalidate counted", "YokedCache", each),
        (true, true) => results.keep_figure("invalidate counted in a million", "YokedCache", each),
    }
    let figures = [took / 1e3, each, longest / 1e3, median(&quiet) / 1e3].map(|figure| format!("{figure:.1}"));
    let counted = if counted { "yes" } else { "no" };
    [members.to_string(), others.to_string(), counted.to_owned()].into_iter().chain(figures).collect()
}

/// Sets the members and makes them misses; what the latter took.
fn invalidate(cache: &Contender, members: usize, counted: bool) -> f64 {
    set_members(cache, members);
    time_invalidation(cache, members, counted)
}

fn set_members(cache: &Contender, members: usize) {
    for number in 0..members as u64 {
        cache.set(&member(number), &[7; VALUE_LEN], YC_TTL_NEVER, &[slice(TAG)]);
    }
}

fn member(number: u64) -> Key {
    key(u64::MAX / 2 + number)
}

fn time_invalidation(cache: &Contender, members: usize, counted: bool) -> f64 {
    let mut removed = 0;
    let place = if counted { &raw mut removed } else { null_mut() };
    let mut stopwatch = Stopwatch::start();
    // SAFETY: arguments as yc_invalidate_tag() wants them.
    let status = unsafe { yc_invalidate_tag(cache.handle(), TAG.as_ptr(), TAG.len(), place, null_mut()) };
    let took = stopwatch.nanos();
    if status != YC_OK || (counted && removed != members as u64) {
        give_up(&format!("invalidating {members} entries gave status {status} and removed {removed}"));
    }
    took
}

fn beside_reader(cache: &Contender, members: usize, counted: bool) -> Run {
    set_members(cache, members);
    let (took, longest_get) = longest_get(cache, || time_invalidation(cache, members, counted));
    Run { took, longest_get }
}

fn quiet_for(runs: &[Run]) -> f64 {
    let took = median(&runs.iter().map(|run| run.took).collect::<Vec<f64>>());
    std::thread::sleep(Duration::from_nanos(took as u64));
    took
}

/// What `act` gives, and the longest get of a reader meanwhile, in nanoseconds.
pub fn longest_get(cache: &Contender, act: impl FnOnce() -> f64) -> (f64, f64) {
    let (watched, stop, longest) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let given = std::thread::scope(|scope| {
        scope.spawn(|| read(cache, &watched, &stop, &longest));
        std::thread::sleep(5 * MARGIN);
        watched.store(true, Relaxed);
        let started = Instant::now();
        std::thread::sleep(MARGIN);
        let given = act();
        std::thread::sleep(MARGIN);
        watched.store(false, Relaxed);
        stop.store(started.elapsed() >= 2 * MARGIN, Relaxed);
        given
    });
    (given, longest.load(Relaxed) as f64)
}

fn read(cache: &Contender, watched: &AtomicBool, stop: &AtomicBool, longest: &AtomicU64) {
    let keys: Vec<Key> = (0..READ as u64).map(key).collect();
    let (mut buffer, mut stopwatch) = ([0; VALUE_LEN], Stopwatch::start());
    for key in keys.iter().cycle() {
        stopwatch.restart();
        cache.get_into(key, &mut buffer);
        let took = stopwatch.nanos();
        if watched.load(Relaxed) {
            longest.fetch_max(took as u64, Relaxed);
        }
        if stop.load(Relaxed) {
            return;
        }
    }
}
