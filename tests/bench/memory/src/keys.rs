//! The keys, and the order in which they are asked for: Zipf with exponent 1.

use std::sync::Arc;

pub const KEY_LEN: usize = 16;
pub const VALUE_LEN: usize = 100;
/// How many indexes a thread has before it begins again: 4 MiB of them, far from what a branch predictor learns.
const SEQUENCE: usize = 1 << 20;

pub type Key = [u8; KEY_LEN];

/// Keys in an order that has nothing to do with how often they are asked for.
pub struct Keys(Vec<Key>);

impl Keys {
    pub fn new(count: usize) -> Self {
        Self((0..count as u64).map(key).collect())
    }

    #[inline]
    pub fn get(&self, at: u32) -> &Key {
        &self.0[at as usize]
    }

    pub fn all(&self) -> &[Key] {
        &self.0
    }
}

/// The key of a number: 16 hexadecimal digits that look like chance.
pub fn key(number: u64) -> Key {
    let mixed = mix(number);
    std::array::from_fn(|at| b"0123456789abcdef"[(mixed >> (at * 4)) as usize & 15])
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). Different numbers stay so.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of numbers that look like chance, the same in every run.
pub struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { seed: mix(seed), drawn: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.seed ^ self.drawn)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, (self.next() % (at as u64 + 1)) as usize);
        }
    }
}

/// For each thread the indexes of the keys it asks for.
pub fn zipf_sequences(keys: usize, threads: usize) -> Vec<Arc<[u32]>> {
    let mut by_rank: Vec<u32> = (0..keys as u32).collect();
    Random::new(1).shuffle(&mut by_rank);
    let sums = sums_of_shares(keys);
    (0..threads).map(|thread| sequence(&by_rank, &sums, 100 + thread as u64)).collect()
}

/// What the first ranks get together, for every rank.
fn sums_of_shares(keys: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |rank: usize| {
        sum += 1.0 / rank as f64;
        sum
    };
    (1..=keys).map(add).collect()
}

fn sequence(by_rank: &[u32], sums: &[f64], seed: u64) -> Arc<[u32]> {
    let mut random = Random::new(seed);
    let total = sums[sums.len() - 1];
    let mut draw = || {
        let wanted = random.share() * total;
        by_rank[sums.partition_point(|sum| *sum <= wanted).min(by_rank.len() - 1)]
    };
    (0..SEQUENCE).map(|_| draw()).collect()
}
