//! The benchmark of the memory backend: workloads named on the command line, or all; Markdown on standard output.

mod abi;
mod bytes;
mod clock;
mod contender;
mod fuzzy;
mod goals;
mod invalidate;
mod hits;
mod keys;
mod latency;
mod options;
mod processors;
mod results;
mod rounds;
mod sweeper;
mod table;
mod throughput;
mod workload;

use std::env;

use crate::contender::{OTHER_BUILD, give_up};
use crate::options::Options;
use crate::results::Results;
use crate::workload::Workload;

type Measure = fn(&Options, &mut Results);

/// Measurements that are no rates.
const OTHERS: [(&str, Measure); 6] = [
    ("latency", |options, results| latency::run(&workload::all()[0], options, results)),
    ("bytes", bytes::run),
    ("hits", hits::run),
    ("invalidate", invalidate::run),
    ("sweeper", sweeper::run),
    ("fuzzy", fuzzy::run),
];

fn main() {
    contender::yoked::check_abi();
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<&str>>()[..] {
        [bytes::CHILD, name, ttl] => bytes::child(name, ttl == "ttl"),
        [bytes::CHILD, name, ttl, other_build] => {
            OTHER_BUILD.set(other_build.into()).expect("set once");
            bytes::child(name, ttl == "ttl");
        }
        _ => measure(&Options::read(arguments.into_iter())),
    }
}

fn measure(options: &Options) {
    let workloads = workload::all();
    let names: Vec<&str> = workloads.iter().map(|one| one.name).chain(OTHERS.map(|(name, _)| name)).collect();
    if options.list {
        return names.iter().for_each(|name| println!("{name}"));
    }
    if let Some(unknown) = options.workloads.iter().find(|name| !names.contains(&name.as_str())) {
        give_up(&format!("{unknown} is no workload; there are {}", names.join(", ")));
    }
    let mut results = Results::default();
    run_rates(&workloads, options, &mut results);
    for (_, run) in OTHERS.iter().filter(|(name, _)| options.wants_workload(name)) {
        run(options, &mut results);
    }
    goals::print(&results, options);
}

fn run_rates(workloads: &[Workload], options: &Options, results: &mut Results) {
    let wanted: Vec<&Workload> = workloads.iter().filter(|one| options.wants_workload(one.name)).collect();
    if wanted.is_empty() {
        return;
    }
    let field = throughput::Field::new(&options.threads);
    wanted.iter().for_each(|workload| throughput::run(workload, &field, options, results));
}
