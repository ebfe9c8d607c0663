//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::contender::{Kind, OTHER_BUILD, give_up};

pub const USAGE: &str = "\
tests/bench/run [OPTION…] [WORKLOAD…] [Nthreads…]

Without a workload all are run; without a number of threads 1, 2, 4 and 8.

  --quick         3 short rounds and smaller runs: to see that it works
  --rounds N      rounds of each comparison (9)
  --slice MS      how long each contender has in a round (200)
  --only NAME     one contender: yokedcache, quick_cache, floor; 'yokedcache,' is its further rows
  --against FILE  another build of libyokedcache.so, as a further contender
  --list          the workloads
  --help          this

UNDER='perf record -o out.data' tests/bench/run get_into 1thread --only yokedcache
runs the measuring program under a profiler.";

pub struct Options {
    pub rounds: usize,
    pub slice: Duration,
    pub quick: bool,
    pub list: bool,
    pub workloads: Vec<String>,
    pub threads: Vec<usize>,
    only: Option<String>,
}

impl Options {
    pub fn read(arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            options.take(&argument, &mut arguments);
        }
        if options.threads.is_empty() {
            options.threads = if options.quick { vec![1, 2] } else { vec![1, 2, 4, 8] };
        }
        options
    }

    fn take(&mut self, argument: &str, rest: &mut impl Iterator<Item = String>) {
        let mut value = || rest.next().unwrap_or_else(|| give_up(&format!("{argument} takes a value")));
        match argument {
            "--quick" => (self.quick, self.rounds, self.slice) = (true, 3, Duration::from_millis(50)),
            "--rounds" => self.rounds = number(&value()),
            "--slice" => self.slice = Duration::from_millis(number(&value()) as u64),
            "--only" => self.only = Some(value().to_lowercase()),
            "--against" => OTHER_BUILD.set(PathBuf::from(value())).unwrap_or_else(|_| give_up("--against given twice")),
            "--list" => self.list = true,
            "--help" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            _ if argument.starts_with('-') => give_up(&format!("{argument} is no option; see --help")),
            _ => match argument.trim_end_matches("threads").trim_end_matches("thread").parse() {
                Ok(threads) => self.threads.push(threads),
                Err(_) => self.workloads.push(argument.replace('-', "_")),
            },
        }
    }

    pub fn wants(&self, kind: Kind) -> bool {
        self.wants_name(kind, kind.name())
    }

    /// Whether a contender that goes by this name, its own or a longer one, is to be measured.
    pub fn wants_name(&self, kind: Kind, name: &str) -> bool {
        kind.is_wanted() && self.only.as_ref().is_none_or(|only| is_called(&name.to_lowercase(), only))
    }

    pub fn wants_workload(&self, name: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|wanted| wanted == name)
    }

    /// A number of entries, smaller when it is to be quick.
    pub fn scaled(&self, count: usize) -> usize {
        if self.quick { count / 10 } else { count }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 9,
            slice: Duration::from_millis(200),
            quick: false,
            list: false,
            workloads: Vec::new(),
            threads: Vec::new(),
            only: None,
        }
    }
}

/// "floor" is "floor: no lock"; "yokedcache" is not "yokedcache, with a ttl", but "yokedcache," is.
fn is_called(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ':']))
}

fn number(text: &str) -> usize {
    text.parse().ok().filter(|number| *number > 0).unwrap_or_else(|| give_up(&format!("{text} is no number")))
}
