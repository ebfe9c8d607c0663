//! What an entry takes in memory: each contender fills a process of its own.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::abi::YC_TTL_NEVER;
use crate::contender::{CACHES, Kind, give_up};
use crate::keys::{KEY_LEN, VALUE_LEN, key};
use crate::options::Options;
use crate::results::Results;
use crate::table::Table;

const ENTRIES: usize = 1_000_000;
/// Entries of the cache: a little more, for shards that fill unevenly.
const CAPACITY: usize = ENTRIES + ENTRIES / 20;
const TTL: Duration = Duration::from_secs(3600);
/// The argument by which this program calls itself.
pub const CHILD: &str = "--fill-and-tell-bytes";

pub fn run(options: &Options, results: &mut Results) {
    let mut table = Table::new(["contender", "bytes an entry", "overhead", "with a TTL"]);
    for kind in CACHES.into_iter().filter(|kind| options.wants(*kind)) {
        eprintln!("bytes, {}", kind.name());
        let bytes = in_child(kind, false);
        let with_ttl = has_ttl(kind).then(|| in_child(kind, true));
        results.keep_figure("bytes", kind.name(), bytes);
        with_ttl.inspect(|bytes| results.keep_figure("bytes with TTL", kind.name(), *bytes));
        let with_ttl = with_ttl.map_or_else(|| "–".to_owned(), |bytes| format!("{bytes:.0}"));
        let overhead = bytes - (KEY_LEN + VALUE_LEN) as f64;
        table.row([kind.name().to_owned(), format!("{bytes:.0}"), format!("{overhead:.0}"), with_ttl]);
    }
    let about = format!(
        "{ENTRIES} entries of {KEY_LEN} + {VALUE_LEN} bytes; the growth of the resident set of a process that does \
         nothing else. moka's TTL is one for the whole cache, YokedCache's one for each entry."
    );
    table.print("bytes", &about);
}

fn has_ttl(kind: Kind) -> bool {
    matches!(kind, Kind::Yoked | Kind::Other | Kind::Moka)
}

fn in_child(kind: Kind, with_ttl: bool) -> f64 {
    let program = env::current_exe().unwrap_or_else(|error| give_up(&error.to_string()));
    let mut command = Command::new(program);
    command.args([CHILD, kind.name(), if with_ttl { "ttl" } else { "" }]);
    crate::contender::OTHER_BUILD.get().iter().for_each(|path| _ = command.arg(path));
    let output = command.output().unwrap_or_else(|error| give_up(&error.to_string()));
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| give_up(&format!("a child that should fill {} said {text:?}", kind.name())))
}

/// What the child does: it fills a cache and says what an entry took.
pub fn child(name: &str, with_ttl: bool) {
    let kind = CACHES.into_iter().find(|kind| kind.name() == name).unwrap_or_else(|| give_up(name));
    let ttl = with_ttl.then_some(TTL);
    let ttl_ms = ttl.map_or(YC_TTL_NEVER, |ttl| ttl.as_millis() as i64);
    // SAFETY: returns free memory to the system.
    unsafe { libc::malloc_trim(0) };
    let before = resident_bytes();
    let cache = kind.open(CAPACITY, ttl);
    for number in 0..ENTRIES as u64 {
        cache.set(&key(number), &[7; VALUE_LEN], ttl_ms, &[]);
    }
    cache.settle();
    let grown = resident_bytes() - before;
    let held = (0..ENTRIES as u64).filter(|number| cache.get_into(&key(*number), &mut [0; VALUE_LEN]).is_some());
    println!("{}", grown as f64 / held.count() as f64);
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or_else(|| give_up("/proc/self/status has no VmRSS")) * 1024
}
