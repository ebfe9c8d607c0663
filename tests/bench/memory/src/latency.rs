//! How long single gets take at one thread, each timed on its own.

use crate::clock::{cost_in_ticks, nanos, ticks};
use crate::contender::{CACHES, Contender, Kind};
use crate::keys::{Keys, VALUE_LEN, zipf_sequences};
use crate::options::Options;
use crate::results::Results;
use crate::rounds::{interleave, median, percentile};
use crate::table::Table;
use crate::workload::{Entrant, Fill, KEYS, Workload};

/// Gets of one turn; the first tenth only warms up.
const GETS: usize = 200_000;

/// Percentiles of one turn, in nanoseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

pub fn run(workload: &Workload, options: &Options, results: &mut Results) {
    let (keys, sequence) = (Keys::new(KEYS), &zipf_sequences(KEYS, 1)[0]);
    let kinds: Vec<Kind> = CACHES.into_iter().chain([Kind::Floor]).filter(|kind| options.wants(*kind)).collect();
    let open = |kind: &Kind| {
        let entrant = Entrant { kind: *kind, variant: "", fill: Fill::Plain, block: |_, _, _| {} };
        entrant.open(workload.capacity, &keys)
    };
    let caches: Vec<Contender> = kinds.iter().map(open).collect();
    let clock = cost_in_ticks();
    eprintln!("latency");
    let turns = interleave(options.rounds, kinds.len(), |at| one_turn(&caches[at], &keys, sequence, clock));
    print(&kinds, &turns, clock, results);
}

fn one_turn(cache: &Contender, keys: &Keys, sequence: &[u32], clock: u64) -> Latency {
    let mut buffer = [0; VALUE_LEN];
    let mut time = |index: &u32| {
        let key = keys.get(*index);
        let started = ticks();
        cache.get_into(key, &mut buffer);
        nanos((ticks() - started).saturating_sub(clock) as f64)
    };
    let mut times: Vec<f64> = sequence[..GETS].iter().map(&mut time).collect();
    let times = &mut times[GETS / 10..];
    Latency { p50: percentile(times, 0.5), p99: percentile(times, 0.99) }
}

fn print(kinds: &[Kind], turns: &[Vec<Latency>], clock: u64, results: &mut Results) {
    let mut table = Table::new(["contender", "p50, ns", "p99, ns"]);
    for (kind, turns) in kinds.iter().zip(turns) {
        let p50 = median(&turns.iter().map(|turn| turn.p50).collect::<Vec<f64>>());
        let p99 = median(&turns.iter().map(|turn| turn.p99).collect::<Vec<f64>>());
        results.keep_figure("latency p50", kind.name(), p50);
        table.row([kind.name().to_owned(), format!("{p50:.0}"), format!("{p99:.0}")]);
    }
    let about = format!(
        "Single get_into at 1 thread, each between two fenced reads of the time stamp counter, whose own {:.0} ns are \
         taken off. The fences forbid the overlap of calls that the rates above have.",
        nanos(clock as f64)
    );
    table.print("latency", &about);
}
