//! The server of each name: libmemcached's distributions, to the byte.
//!
//! Source: libmemcached 1.1, `hosts.cc` (points) and `libhashkit` (hashes).
//! Other clients that know a stored name find its server.

use md5::{Digest, Md5};

use crate::config::{Address, Distribution, KeyHash, MemcachedServer};

/// Points of a server in a ring without weights.
const PLAIN_POINTS: u32 = 100;
/// Points of a server of average weight in a ring with weights,
const WEIGHTED_POINTS: f32 = 160.0;
/// so many of them out of one digest.
const POINTS_A_DIGEST: f32 = 4.0;
/// The port that libmemcached leaves out of a server's points.
const DEFAULT_PORT: u16 = 11211;

/// Servers by their numbers, on a ring of hashes or in a row.
pub struct Ring {
    /// Sorted; empty where the distribution has no ring.
    points: Vec<(u32, usize)>,
    hash: KeyHash,
    servers: usize,
}

impl Ring {
    /// Builds the ring of servers, which are in the order of the configuration.
    pub fn new(servers: &[MemcachedServer], distribution: Distribution, hash: KeyHash) -> Self {
        let mut points = match distribution {
            Distribution::Modula => Vec::new(),
            Distribution::Ketama => plain_points(servers, hash),
            Distribution::KetamaWeighted => weighted_points(servers),
        };
        points.sort_unstable();
        Self { points, hash, servers: servers.len() }
    }

    /// Returns the server of a name.
    pub fn owner(&self, name: &[u8]) -> usize {
        self.owner_among(name, |_| true).unwrap_or(0)
    }

    /// Returns the server of a name among those left; `None` if none is left.
    pub fn owner_among(&self, name: &[u8], is_left: impl Fn(usize) -> bool) -> Option<usize> {
        if self.servers == 1 {
            return is_left(0).then_some(0);
        }
        let hash = hash(self.hash, name);
        if self.points.is_empty() {
            let first = hash as usize % self.servers;
            return (0..self.servers).map(|step| (first + step) % self.servers).find(|server| is_left(*server));
        }
        let start = self.points.partition_point(|(point, _)| *point < hash);
        let (before, from) = self.points.split_at(start);
        from.iter().chain(before).map(|(_, server)| *server).find(|server| is_left(*server))
    }
}

fn plain_points(servers: &[MemcachedServer], key_hash: KeyHash) -> Vec<(u32, usize)> {
    let points = |(index, server): (usize, &MemcachedServer)| {
        let name = point_name(&server.address);
        (0..PLAIN_POINTS).map(move |point| (hash(key_hash, format!("{name}-{point}").as_bytes()), index))
    };
    servers.iter().enumerate().flat_map(points).collect()
}

fn weighted_points(servers: &[MemcachedServer]) -> Vec<(u32, usize)> {
    let total: u64 = servers.iter().map(|server| u64::from(server.weight)).sum();
    let points = |(index, server): (usize, &MemcachedServer)| {
        let name = point_name(&server.address);
        let digests = digests_of(server.weight, total, servers.len());
        (0..digests).flat_map(move |digest| {
            let digest = md5(format!("{name}-{digest}").as_bytes());
            digest.as_chunks::<4>().0.iter().map(|point| (u32::from_le_bytes(*point), index)).collect::<Vec<_>>()
        })
    };
    servers.iter().enumerate().flat_map(points).collect()
}

/// Returns a quarter of a server's points, in single precision as libmemcached does: the result of a double differs.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn digests_of(weight: u32, total: u64, servers: usize) -> u32 {
    let share = weight as f32 / total as f32;
    (share * WEIGHTED_POINTS / POINTS_A_DIGEST * servers as f32 + 1e-10f32).floor() as u32
}

/// Hosts as they were given, without looking them up; a socket file counts as a host with the port 0.
fn point_name(address: &Address) -> String {
    match address {
        Address::Tcp { host, port: DEFAULT_PORT } => host.clone(),
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Unix(path) => format!("{}:0", path.display()),
    }
}

fn hash(kind: KeyHash, bytes: &[u8]) -> u32 {
    match kind {
        KeyHash::Default => one_at_a_time(bytes),
        KeyHash::Md5 => {
            let [first, second, third, fourth, ..] = md5(bytes);
            u32::from_le_bytes([first, second, third, fourth])
        }
    }
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// Computes Jenkins's hash over signed characters: <http://www.burtleburtle.net/bob/hash/doobs.html>
#[allow(clippy::cast_possible_wrap, clippy::cast_sign_loss)]
fn one_at_a_time(bytes: &[u8]) -> u32 {
    let mut hash = 0u32;
    for byte in bytes {
        hash = hash.wrapping_add(i32::from(*byte as i8) as u32);
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn servers(list: &[&str]) -> Vec<MemcachedServer> {
        let server = |text: &&str| {
            let (place, weight) = text.split_once(',').unwrap_or((text, "1"));
            let address = match place.rsplit_once(':') {
                Some((host, port)) => Address::Tcp { host: host.into(), port: port.parse().unwrap() },
                None => Address::Unix(place.into()),
            };
            MemcachedServer { address, weight: weight.parse().unwrap() }
        };
        list.iter().map(server).collect()
    }

    #[test]
    fn hashes_are_those_of_libhashkit() {
        assert_eq!(one_at_a_time(b"apple"), 2_297_466_611);
        assert_eq!(one_at_a_time(b"beat\xff"), 1_609_278_613);
        assert_eq!(hash(KeyHash::Md5, b"apple"), 3_195_025_439);
    }

    /// The program that asks libmemcached, built here.
    fn oracle() -> std::path::PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/ketama.c");
        let program = std::env::temp_dir().join(format!("yokedcache-ketama-{}", std::process::id()));
        let built = Command::new("cc").arg("-o").arg(&program).arg(source).arg("-lmemcached").status().unwrap();
        assert!(built.success(), "install libmemcached-dev, as tests/run does");
        program
    }

    #[test]
    fn every_distribution_is_libmemcacheds() {
        let oracle = oracle();
        let plain = ["cache1.example.com:11211", "cache2.example.com:11211", "10.0.0.3:11212", "::1:11213"];
        let weighted =
            ["cache1.example.com:11211,3", "cache2.example.com:11211,1", "10.0.0.3:11212,7", "h:1,2", "i:2,64"];
        let sockets = ["/run/one.sock", "/run/two.sock", "three:11211"];
        let cases: [(&[&str], _, _); 8] = [
            (&weighted, Distribution::KetamaWeighted, KeyHash::Md5),
            (&weighted, Distribution::KetamaWeighted, KeyHash::Default),
            (&plain, Distribution::KetamaWeighted, KeyHash::Md5),
            (&plain, Distribution::Ketama, KeyHash::Default),
            (&plain, Distribution::Ketama, KeyHash::Md5),
            (&plain, Distribution::Modula, KeyHash::Default),
            (&plain, Distribution::Modula, KeyHash::Md5),
            (&sockets, Distribution::KetamaWeighted, KeyHash::Md5),
        ];
        for (list, distribution, hash) in cases {
            let (ours, theirs) = (owners(list, distribution, hash), asked(&oracle, list, distribution, hash));
            assert_eq!(ours.len(), theirs.len());
            let differ = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count();
            assert_eq!(differ, 0, "{distribution:?} {hash:?} {list:?}");
        }
        std::fs::remove_file(oracle).unwrap();
    }

    const NAMES: u64 = 10_000;

    fn owners(list: &[&str], distribution: Distribution, hash: KeyHash) -> Vec<usize> {
        let ring = Ring::new(&servers(list), distribution, hash);
        let name = |number: u64| format!("app:e:{number}:é{:x}", number.wrapping_mul(2_654_435_761));
        (0..NAMES).map(|number| ring.owner(name(number).as_bytes())).collect()
    }

    fn asked(oracle: &Path, list: &[&str], distribution: Distribution, hash: KeyHash) -> Vec<usize> {
        let distribution = match distribution {
            Distribution::Ketama => "ketama",
            Distribution::KetamaWeighted => "weighted",
            Distribution::Modula => "modula",
        };
        let hash = if hash == KeyHash::Md5 { "md5" } else { "default" };
        let output = Command::new(oracle).args([distribution, hash, &NAMES.to_string()]).args(list).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn a_server_that_is_gone_leaves_the_others_their_names() {
        let servers = servers(&["a:11211", "b:11211", "c:11211"]);
        for distribution in [Distribution::Ketama, Distribution::KetamaWeighted] {
            let ring = Ring::new(&servers, distribution, KeyHash::Md5);
            let mut moved = 0;
            for name in (0..1000).map(|number| format!("name{number}")) {
                let before = ring.owner(name.as_bytes());
                let after = ring.owner_among(name.as_bytes(), |server| server != 1);
                assert_ne!(after, Some(1));
                assert!(before == 1 || after == Some(before));
                moved += usize::from(before == 1);
            }
            assert!((200..500).contains(&moved), "{moved}");
        }
        let ring = Ring::new(&servers, Distribution::Modula, KeyHash::Default);
        assert_eq!(ring.owner_among(b"name", |_| false), None);
        assert_eq!(ring.owner_among(b"name", |server| server == 2), Some(2));
    }

    #[test]
    fn one_server_has_every_name() {
        let ring = Ring::new(&servers(&["a:1,5"]), Distribution::KetamaWeighted, KeyHash::Md5);
        assert_eq!(ring.owner(b"anything"), 0);
    }
}
