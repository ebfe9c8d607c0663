//! What is done to the caches: each workload is a few loops, one for each entrant.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::Duration;

use crate::abi::{Op, Slice, YC_OP_GET, YC_TTL_NEVER};
use crate::contender::{CACHES, Contender, Kind};
use crate::keys::{Keys, VALUE_LEN};

/// Keys that are asked for.
pub const KEYS: usize = 100_000;
/// A cache that holds all of them, also one whose shards fill unevenly.
const ROOMY: usize = 2 * KEYS;
/// A cache that holds a tenth of them.
const TIGHT: usize = KEYS / 10;
/// Keys of one get_many or batch.
const MANY: usize = 100;
/// One operation in so many is a set.
const SET_EVERY: u32 = 10;
/// Long enough to never pass meanwhile.
const TTL: Duration = Duration::from_secs(3600);

/// Some operations of one thread.
type Block = fn(&Contender, &mut Caller, &[u32]);

/// How the entries were set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    Nothing,
    Plain,
    WithTtl,
    WithTags,
}

/// One who takes part in a workload.
#[derive(Clone)]
pub struct Entrant {
    pub kind: Kind,
    /// What it does in addition to its name.
    pub variant: &'static str,
    pub fill: Fill,
    pub block: Block,
}

pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    /// Figures are nanoseconds a key, else million operations a second.
    pub in_nanos: bool,
    pub capacity: usize,
    pub entrants: Vec<Entrant>,
}

impl Entrant {
    pub fn name(&self) -> String {
        format!("{}{}", self.kind.name(), self.variant)
    }

    pub fn open(&self, capacity: usize, keys: &Keys) -> Contender {
        let ttl = (self.fill == Fill::WithTtl).then_some(TTL);
        let cache = self.kind.open(capacity, ttl);
        let mut caller = Caller::new(keys);
        let set: Option<Block> = match self.fill {
            Fill::Nothing => None,
            Fill::Plain => Some(set),
            Fill::WithTtl => Some(set_with_ttl),
            Fill::WithTags => Some(set_with_tags),
        };
        if let Some(set) = set {
            let all: Vec<u32> = (0..keys.all().len() as u32).collect();
            set(&cache, &mut caller, &all);
        }
        cache.settle();
        cache
    }
}

/// All workloads whose figure is a rate.
pub fn all() -> Vec<Workload> {
    vec![get_into_workload(), get_workload(), set_workload(), mix_workload(), many_workload(), full_workload()]
}

fn get_into_workload() -> Workload {
    let mut entrants = peers(get_into, Fill::Plain);
    entrants.push(plain(Kind::Floor, get_into));
    entrants.push(own(", entries with a TTL", Fill::WithTtl, get_into));
    entrants.push(own(", entries with 2 tags", Fill::WithTags, get_into));
    let about = "A hit, copied into the caller's buffer.";
    Workload { name: "get_into", about, in_nanos: false, capacity: ROOMY, entrants }
}

fn get_workload() -> Workload {
    let mut entrants = peers(get, Fill::Plain);
    entrants.push(plain(Kind::Floor, get));
    let about = "A hit, as a handle that is freed at once.";
    Workload { name: "get", about, in_nanos: false, capacity: ROOMY, entrants }
}

fn set_workload() -> Workload {
    let mut entrants = peers(set, Fill::Plain);
    entrants.push(own(", with a TTL", Fill::WithTtl, set_with_ttl));
    entrants.push(own(", with 2 tags", Fill::WithTags, set_with_tags));
    let about = "A value in place of another.";
    Workload { name: "set", about, in_nanos: false, capacity: ROOMY, entrants }
}

fn mix_workload() -> Workload {
    let about = "Nine get_into, one set in place of another value.";
    Workload { name: "mix", about, in_nanos: false, capacity: ROOMY, entrants: peers(mix, Fill::Plain) }
}

fn many_workload() -> Workload {
    let mut entrants = peers(many, Fill::Plain);
    entrants.push(plain(Kind::Floor, many));
    entrants.push(own(", yc_batch", Fill::Plain, batch));
    entrants.push(own(", 100 x yc_get", Fill::Plain, get));
    let about = "100 keys in one call, as handles that are then freed; peers get one after the other inside the call. \
                 Nanoseconds a key of one thread.";
    Workload { name: "many", about, in_nanos: true, capacity: ROOMY, entrants }
}

fn full_workload() -> Workload {
    let about = "A cache that holds a tenth of the keys: get_into and on a miss a set; every tenth operation is a set.";
    Workload { name: "full", about, in_nanos: false, capacity: TIGHT, entrants: peers(read_through, Fill::Nothing) }
}

/// YokedCache first: ratios are to it.
fn peers(block: Block, fill: Fill) -> Vec<Entrant> {
    CACHES.into_iter().map(|kind| Entrant { kind, variant: "", fill, block }).collect()
}

fn plain(kind: Kind, block: Block) -> Entrant {
    Entrant { kind, variant: "", fill: Fill::Plain, block }
}

fn own(variant: &'static str, fill: Fill, block: Block) -> Entrant {
    Entrant { kind: Kind::Yoked, variant, fill, block }
}

/// One calling thread: its buffers, and what it met.
pub struct Caller<'a> {
    keys: &'a Keys,
    value: [u8; VALUE_LEN],
    buffer: [u8; 2 * VALUE_LEN],
    handles: [*mut c_void; 2 * MANY],
    tags: TagNames,
    operations: u32,
    pub gets: u64,
    pub hits: u64,
}

impl<'a> Caller<'a> {
    pub fn new(keys: &'a Keys) -> Self {
        Self {
            keys,
            value: std::array::from_fn(|at| at as u8),
            buffer: [0; 2 * VALUE_LEN],
            handles: [null_mut(); 2 * MANY],
            tags: TagNames::new(),
            operations: 0,
            gets: 0,
            hits: 0,
        }
    }

    #[inline]
    fn count(&mut self, is_hit: bool) {
        self.gets += 1;
        self.hits += u64::from(is_hit);
    }

    /// Whether this operation is to be a set.
    #[inline]
    fn is_set_due(&mut self) -> bool {
        self.operations = (self.operations + 1) % SET_EVERY;
        self.operations == 0
    }
}

/// Names of tags, a few that many entries have and many that few have.
struct TagNames {
    groups: Vec<String>,
    pages: Vec<String>,
}

impl TagNames {
    fn new() -> Self {
        let named = |name: &str, count: usize| (0..count).map(|at| format!("{name}:{at}")).collect();
        Self { groups: named("group", 16), pages: named("page", 1000) }
    }

    #[inline]
    fn of(&self, index: u32) -> [Slice; 2] {
        let at = index as usize;
        [&self.groups[at % self.groups.len()], &self.pages[at % self.pages.len()]].map(|name| slice(name.as_bytes()))
    }
}

pub fn slice(bytes: &[u8]) -> Slice {
    Slice { data: bytes.as_ptr(), len: bytes.len() }
}

fn get_into(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for index in block {
        let found = cache.get_into(caller.keys.get(*index), &mut caller.buffer);
        caller.count(found.is_some());
    }
}

fn get(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for index in block {
        let was_there = cache.get_and_free(caller.keys.get(*index));
        caller.count(was_there);
    }
}

fn set(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for index in block {
        cache.set(caller.keys.get(*index), &caller.value, YC_TTL_NEVER, &[]);
    }
}

fn set_with_ttl(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for index in block {
        cache.set(caller.keys.get(*index), &caller.value, TTL.as_millis() as i64, &[]);
    }
}

fn set_with_tags(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for index in block {
        cache.set(caller.keys.get(*index), &caller.value, YC_TTL_NEVER, &caller.tags.of(*index));
    }
}

fn mix(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for index in block {
        let at = std::slice::from_ref(index);
        if caller.is_set_due() { set(cache, caller, at) } else { get_into(cache, caller, at) }
    }
}

fn read_through(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for index in block {
        let (at, hits) = (std::slice::from_ref(index), caller.hits);
        let is_set = caller.is_set_due();
        if !is_set {
            get_into(cache, caller, at);
        }
        if is_set || caller.hits == hits {
            set(cache, caller, at);
        }
    }
}

fn many(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for hundred in block.as_chunks::<MANY>().0 {
        let keys = hundred.map(|index| slice(caller.keys.get(index)));
        caller.hits += cache.get_many_and_free(&keys, &mut caller.handles) as u64;
        caller.gets += MANY as u64;
    }
}

fn batch(cache: &Contender, caller: &mut Caller, block: &[u32]) {
    for hundred in block.as_chunks::<MANY>().0 {
        let mut ops = hundred.map(|index| get_operation(caller.keys.get(index)));
        caller.hits += cache.batch_and_free(&mut ops) as u64;
        caller.gets += MANY as u64;
    }
}

fn get_operation(key: &[u8]) -> Op {
    Op {
        kind: YC_OP_GET,
        flags: 0,
        key: key.as_ptr(),
        key_len: key.len(),
        value: null(),
        value_len: 0,
        tags: null(),
        n_tags: 0,
        ttl_ms: 0,
        user_data: 0,
        status: 0,
        condition: 0,
        result: null_mut(),
        error: null_mut(),
        remaining_ms: 0,
        removed: 0,
        version: 0,
        number: 0,
        initial: 0,
        lease: null_mut(),
        reserved: [0; 4],
    }
}
