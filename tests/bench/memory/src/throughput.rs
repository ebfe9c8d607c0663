//! Rates: every entrant of a workload, at one number of threads after the other.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::clock::waited_for_processor;
use crate::contender::{Contender, Kind};
use crate::keys::{Keys, zipf_sequences};
use crate::options::Options;
use crate::processors;
use crate::results::Results;
use crate::rounds::{interleave, median, ratio};
use crate::table::Table;
use crate::workload::{Caller, Entrant, Fill, KEYS, Workload};

/// Operations between two looks at the clock.
const BLOCK: usize = 1000;
/// Brings a cache back into the processor's before its turn counts.
const WARM_UP: Duration = Duration::from_millis(20);

/// The keys and who asks for which.
pub struct Field {
    keys: Keys,
    sequences: Vec<Arc<[u32]>>,
}

impl Field {
    pub fn new(threads: &[usize]) -> Self {
        let most = threads.iter().copied().max().unwrap_or(1);
        Self { keys: Keys::new(KEYS), sequences: zipf_sequences(KEYS, most) }
    }
}

/// What all threads did in one turn.
#[derive(Clone, Copy, Default)]
struct Turn {
    operations_a_second: f64,
    gets: u64,
    hits: u64,
    /// Time that other programs had the processors, of all threads.
    lost: Duration,
}

/// The turns of one entrant at one number of threads.
struct Column {
    threads: usize,
    turns: Vec<Vec<Turn>>,
}

pub fn run(workload: &Workload, field: &Field, options: &Options, results: &mut Results) {
    let entrants: Vec<&Entrant> =
        workload.entrants.iter().filter(|one| options.wants_name(one.kind, &one.name())).collect();
    if entrants.is_empty() {
        return;
    }
    let columns: Vec<Column> =
        options.threads.iter().map(|threads| column(workload, &entrants, field, options, *threads)).collect();
    columns.iter().for_each(|column| keep(workload, &entrants, column, results));
    print(workload, &entrants, &columns, options);
    if columns.iter().flat_map(|column| &column.turns).flatten().any(|turn| turn.hits < turn.gets) {
        print_hit_ratios(workload, &entrants, &columns);
    }
}

fn column(workload: &Workload, entrants: &[&Entrant], field: &Field, options: &Options, threads: usize) -> Column {
    eprintln!("{}, {threads} threads", workload.name);
    let open = |entrant: &&Entrant| entrant.open(workload.capacity, &field.keys);
    let caches: Vec<Contender> = entrants.iter().map(open).collect();
    for (entrant, cache) in entrants.iter().zip(&caches).filter(|(entrant, _)| entrant.fill == Fill::Nothing) {
        (entrant.block)(cache, &mut Caller::new(&field.keys), &field.sequences[0]);
    }
    let turns =
        interleave(options.rounds, entrants.len(), |at| turn(&caches[at], entrants[at], field, threads, options.slice));
    Column { threads, turns }
}

/// All threads work for a while, and begin together.
fn turn(cache: &Contender, entrant: &Entrant, field: &Field, threads: usize, slice: Duration) -> Turn {
    let (start, processors) = (Barrier::new(threads), processors::allowed());
    let task = Task { cache, entrant, field, start: &start, slice, processors: &processors, threads };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || task.run(thread))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker that ends")).fold(Turn::default(), add)
    })
}

fn add(sum: Turn, one: Turn) -> Turn {
    Turn {
        operations_a_second: sum.operations_a_second + one.operations_a_second,
        gets: sum.gets + one.gets,
        hits: sum.hits + one.hits,
        lost: sum.lost + one.lost,
    }
}

/// What each thread of a turn does.
#[derive(Clone, Copy)]
struct Task<'a> {
    cache: &'a Contender,
    entrant: &'a Entrant,
    field: &'a Field,
    start: &'a Barrier,
    slice: Duration,
    processors: &'a [usize],
    threads: usize,
}

impl Task<'_> {
    fn run(self, thread: usize) -> Turn {
        if self.threads == self.processors.len() {
            processors::stay_on(self.processors[thread]);
        }
        let mut caller = Caller::new(&self.field.keys);
        let mut blocks = self.field.sequences[thread].as_chunks().0.iter().cycle();
        self.start.wait();
        self.work(&mut caller, &mut blocks, WARM_UP);
        (caller.gets, caller.hits) = (0, 0);
        self.start.wait();
        let (operations_a_second, lost) = self.work(&mut caller, &mut blocks, self.slice);
        Turn { operations_a_second, gets: caller.gets, hits: caller.hits, lost }
    }

    /// Operations a second, and the time that other work on the machine took from this contender's turn.
    fn work<'b>(
        self,
        caller: &mut Caller,
        blocks: &mut impl Iterator<Item = &'b [u32; BLOCK]>,
        time: Duration,
    ) -> (f64, Duration) {
        let (waited, started, mut operations) = (waited_for_processor(), Instant::now(), 0);
        while started.elapsed() < time {
            (self.entrant.block)(self.cache, caller, blocks.next().expect("a cycle has no end"));
            operations += BLOCK;
        }
        let elapsed = started.elapsed();
        // Where there are more threads, they wait for each other.
        let lost = if self.threads <= self.processors.len() { waited_for_processor() - waited } else { Duration::ZERO };
        (operations as f64 / elapsed.saturating_sub(lost).as_secs_f64(), lost)
    }
}

fn rates(turns: &[Turn]) -> Vec<f64> {
    turns.iter().map(|turn| turn.operations_a_second).collect()
}

fn keep(workload: &Workload, entrants: &[&Entrant], column: &Column, results: &mut Results) {
    for (entrant, turns) in entrants.iter().zip(&column.turns) {
        results.keep_rates(workload.name, column.threads, &entrant.name(), rates(turns));
    }
}

fn print(workload: &Workload, entrants: &[&Entrant], columns: &[Column], options: &Options) {
    let unit = if workload.in_nanos { "ns a key" } else { "Mops/s" };
    let mut table = Table::new(header(columns));
    for (at, entrant) in entrants.iter().enumerate() {
        let cells = columns.iter().map(|column| cell(workload, entrants, column, at));
        table.row([entrant.name()].into_iter().chain(cells));
    }
    let about = format!("{} {unit}; in brackets YokedCache's throughput ÷ the contender's.", workload.about);
    table.print(workload.name, &about);
    columns.iter().for_each(|column| print_lost(column, options));
}

fn header(columns: &[Column]) -> Vec<String> {
    ["contender".to_owned()].into_iter().chain(columns.iter().map(named)).collect()
}

fn named(column: &Column) -> String {
    format!("{} thread{}", column.threads, if column.threads == 1 { "" } else { "s" })
}

fn cell(workload: &Workload, entrants: &[&Entrant], column: &Column, at: usize) -> String {
    let rates_of = |at: usize| rates(&column.turns[at]);
    let rate = median(&rates_of(at));
    let figure = if workload.in_nanos { column.threads as f64 * 1e9 / rate } else { rate / 1e6 };
    let digits = usize::from(!workload.in_nanos) * 2;
    match at {
        _ if entrants[0].kind != Kind::Yoked => format!("{figure:.digits$}"),
        0 => format!("{figure:.digits$}"),
        _ => format!("{figure:.digits$} ({:.2})", ratio(&rates_of(0), &rates_of(at))),
    }
}

/// Says how far the figures can be trusted.
fn print_lost(column: &Column, options: &Options) {
    let turns: Vec<&Turn> = column.turns.iter().flatten().collect();
    let lost: Duration = turns.iter().map(|turn| turn.lost).sum();
    let all = options.slice * (turns.len() * column.threads) as u32;
    let percent = 100.0 * lost.as_secs_f64() / all.as_secs_f64();
    if percent >= 5.0 {
        println!("\nOther programs had {percent:.0} % of the time at {}.", named(column));
    }
}

fn print_hit_ratios(workload: &Workload, entrants: &[&Entrant], columns: &[Column]) {
    let mut table = Table::new(header(columns));
    for (at, entrant) in entrants.iter().enumerate() {
        let cells = columns.iter().map(|column| format!("{:.2} %", hit_percent(&column.turns[at])));
        table.row([entrant.name()].into_iter().chain(cells));
    }
    table.print(&format!("{}: hit ratio", workload.name), "Hits of the gets, all rounds together.");
}

fn hit_percent(turns: &[Turn]) -> f64 {
    let total = turns.iter().copied().fold(Turn::default(), add);
    100.0 * total.hits as f64 / total.gets as f64
}
