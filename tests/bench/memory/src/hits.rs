//! The share of hits of a cache that is smaller than its keys, with and without scans. It depends on no clock.

use crate::abi::YC_TTL_NEVER;
use crate::contender::{Contender, Kind, yoked};
use crate::keys::{VALUE_LEN, key, zipf_sequences};
use crate::options::Options;
use crate::results::Results;
use crate::table::Table;

const KEYS: usize = 500_000;
/// A tenth of the keys.
const ROOM: usize = KEYS / 10;
/// Reads between two scans, and keys of a scan: none is read a second time.
const PAUSE: usize = 50_000;
const SCAN: usize = 25_000;
/// Each sequence has a million reads; the first one fills the cache and does not count.
const SEQUENCES: usize = 3;

/// The contenders, and the options of those of ours.
const CACHES: [(&str, Kind, &str); 5] = [
    ("YokedCache", Kind::Yoked, ""),
    ("YokedCache, s3fifo", Kind::Yoked, "&eviction=s3fifo"),
    ("quick_cache", Kind::QuickCache, ""),
    ("moka", Kind::Moka, ""),
    ("Mutex<lru>", Kind::Lru, ""),
];

pub fn run(options: &Options, results: &mut Results) {
    let mut table = Table::new(["contender", "hits, %", "hits with scans, %"]);
    for (name, kind, more) in CACHES.into_iter().filter(|(_, kind, _)| options.wants(*kind)) {
        eprintln!("hits, {name}");
        let [plain, scanned] = [false, true].map(|scans| share(&open(kind, more), scans));
        results.keep_figure("hits", name, plain);
        results.keep_figure("hits with scans", name, scanned);
        table.row([name.to_owned(), format!("{plain:.1}"), format!("{scanned:.1}")]);
    }
    let about = format!(
        "Room for {ROOM} of {KEYS} keys, read with Zipf 1.0 and set after a miss. With scans: after each {PAUSE} reads, \
         {SCAN} keys that are read once, which do not count."
    );
    table.print("hits", &about);
}

fn open(kind: Kind, more: &str) -> Contender {
    match kind {
        Kind::Yoked => yoked::LINKED.contender(&format!("{}{more}", yoked::url(ROOM, "60s"))),
        _ => kind.open(ROOM, None),
    }
}

fn share(cache: &Contender, scans: bool) -> f64 {
    let (mut hits, mut reads, mut scanned) = (0, 0, KEYS as u64);
    for (at, sequence) in zipf_sequences(KEYS, SEQUENCES).iter().enumerate() {
        for some in sequence.chunks(PAUSE) {
            let found = some.iter().filter(|number| load(cache, u64::from(**number))).count();
            if at > 0 {
                (hits, reads) = (hits + found, reads + some.len());
            }
            if scans {
                (scanned..scanned + SCAN as u64).for_each(|number| _ = load(cache, number));
                scanned += SCAN as u64;
            }
        }
    }
    100.0 * hits as f64 / reads as f64
}

/// Reads a key, and sets it after a miss. Returns true for a hit.
fn load(cache: &Contender, number: u64) -> bool {
    let (key, mut buffer) = (key(number), [0; VALUE_LEN]);
    let hit = cache.get_into(&key, &mut buffer).is_some();
    if !hit {
        cache.set(&key, &[7; VALUE_LEN], YC_TTL_NEVER, &[]);
    }
    hit
}
