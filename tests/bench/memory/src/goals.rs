//! The goals of the memory backend, each with what was measured.

use crate::options::Options;
use crate::results::Results;
use crate::table::Table;

struct Goal {
    text: &'static str,
    measured: Option<f64>,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};

pub fn print(results: &Results, options: &Options) {
    let mut table = Table::new(["goal", "bound", "measured", ""]);
    for goal in goals(results) {
        table.row([goal.text.to_owned(), goal.bound(), goal.measured(), goal.verdict().to_owned()]);
    }
    let quick =
        if options.quick { " With --quick a million is a tenth of it: read the tables, not these." } else { "" };
    table.print("Goals", &format!("Ratios are medians of the ratios of each round.{quick}"));
}

#[rustfmt::skip]
fn goals(results: &Results) -> Vec<Goal> {
    let ratio = |workload, threads, peer| results.ratio(workload, threads, peer);
    let own = |name| results.figure(name, "YokedCache");
    let floor = "floor: no lock, no recency";
    vec![
        Goal { text: "get_into, 1 thread: p50, ns", measured: own("latency p50"), bound: AtMost(130.0) },
        Goal { text: "get_into, 1 thread ÷ floor", measured: ratio("get_into", 1, floor), bound: AtLeast(0.45) },
        Goal { text: "get_into, 1 thread ÷ quick_cache", measured: ratio("get_into", 1, "quick_cache"), bound: AtLeast(1.15) },
        Goal { text: "get_into, 2 threads ÷ quick_cache", measured: ratio("get_into", 2, "quick_cache"), bound: AtLeast(1.3) },
        Goal { text: "get_into, 2 threads ÷ moka", measured: ratio("get_into", 2, "moka"), bound: AtLeast(4.0) },
        Goal { text: "set, 1 thread ÷ quick_cache", measured: ratio("set", 1, "quick_cache"), bound: AtLeast(1.6) },
        Goal { text: "set, 2 threads ÷ quick_cache", measured: ratio("set", 2, "quick_cache"), bound: AtLeast(1.8) },
        Goal { text: "90:10, 1 thread ÷ quick_cache", measured: ratio("mix", 1, "quick_cache"), bound: AtLeast(1.2) },
        Goal { text: "90:10, 2 threads ÷ quick_cache", measured: ratio("mix", 2, "quick_cache"), bound: AtLeast(1.2) },
        Goal { text: "many(100), 1 thread ÷ quick_cache", measured: ratio("many", 1, "quick_cache"), bound: AtLeast(2.0) },
        Goal { text: "many(100), 2 threads ÷ quick_cache", measured: ratio("many", 2, "quick_cache"), bound: AtLeast(2.0) },
        Goal { text: "bytes an entry, without TTL", measured: own("bytes"), bound: AtMost(210.0) },
        Goal { text: "hits with scans: s3fifo − quick_cache, points", measured: more_hits(results), bound: AtLeast(0.0) },
        Goal { text: "bytes an entry, with TTL", measured: own("bytes with TTL"), bound: AtMost(210.0) },
        Goal { text: "tag of 100k entries, not counted: µs", measured: own("invalidate"), bound: AtMost(10.0) },
        Goal { text: "the same among a million others: µs", measured: own("invalidate in a million"), bound: AtMost(10.0) },
        Goal { text: "tag of 100k entries, counted: ns each", measured: own("invalidate counted"), bound: AtMost(200.0) },
        Goal { text: "the same among a million others: ns each", measured: own("invalidate counted in a million"), bound: AtMost(200.0) },
        Goal { text: "sweeper: median hold, at most, µs", measured: own("sweeper hold"), bound: AtMost(100.0) },
        Goal { text: "fuzzy search of a million keys: time ÷ rapidfuzz", measured: own("fuzzy ratio"), bound: AtMost(0.5) },
    ]
}

fn more_hits(results: &Results) -> Option<f64> {
    let hits = |of| results.figure("hits with scans", of);
    Some(hits("YokedCache, s3fifo")? - hits("quick_cache")?)
}

impl Goal {
    fn bound(&self) -> String {
        match self.bound {
            AtLeast(bound) => format!("≥ {bound}"),
            AtMost(bound) => format!("≤ {bound}"),
        }
    }

    fn measured(&self) -> String {
        self.measured.map_or_else(|| "not measured".to_owned(), |measured| format!("{measured:.2}"))
    }

    fn verdict(&self) -> &'static str {
        match (self.measured, &self.bound) {
            (None, _) => "",
            (Some(measured), AtLeast(bound)) if measured >= *bound => "met",
            (Some(measured), AtMost(bound)) if measured <= *bound => "met",
            _ => "not met",
        }
    }
}
