//! `bench`: measures latency and throughput against the user's servers, with keys of its own that it removes.
//!
//! Each client is a thread with a queue. It submits a request when another one completes: a closed loop, whose rate a slow
//! server slows down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};
use yokedcache::cache::CacheHandle;
use yokedcache::error::{Error, ErrorKind, Result as Cached};
use yokedcache::exec::blocking::answer;
use yokedcache::operation::{NewEntry, Operation, Outcome};
use yokedcache::queue::{Completion, Label, Queue};

use crate::arguments::Bench;
use crate::failure::{Exit, Failure, Result, name};
use crate::human;
use crate::interrupt::Interrupt;
use crate::output::remark;
use crate::session::Session;

/// The duration of a measurement without `--requests` and `--duration`.
const DURATION: Duration = Duration::from_secs(3);
/// The longest latency that the histogram distinguishes, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// The keys that are stored or removed at once before and after the measurement.
const CHUNK: usize = 256;
/// The time by which the entries outlive the measurement, if they cannot be removed.
const OUTLIVE: Duration = Duration::from_secs(60);
/// The percentiles of a report.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
/// The longest bar of the histogram.
const BAR: u64 = 50;

/// Measures, and removes its keys.
pub fn bench(session: &mut Session, arguments: &Bench) -> Result<Exit> {
    let interrupt = Interrupt::notice(|| {})?;
    let load = Load::new(arguments);
    let mut measured = load.store(session, &interrupt).and_then(|()| run(session, &load, &interrupt));
    let (keys_left, cause) = load.remove(session);
    if let Some(error) = cause {
        let text =
            format!("{keys_left} keys {}* could not be removed: {error}; they expire by themselves", load.prefix);
        remark(session.output.is_json(), &text);
    }
    if let Ok(result) = &mut measured {
        result.keys_left = keys_left;
        let report = result.to_json(&load, interrupt.is_wanted());
        session.output.say(|| result.written(&load, interrupt.is_wanted()), || report.clone())?;
    }
    let is_clean = measured?.errors.is_empty() && keys_left == 0;
    Ok(match is_clean {
        _ if interrupt.is_wanted() => Exit::Interrupted,
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// The requests of a measurement.
struct Load {
    prefix: String,
    keys: Vec<Vec<u8>>,
    value: Vec<u8>,
    ttl: Duration,
    /// Keys of a request.
    many: usize,
    reads: u64,
    writes: u64,
    clients: usize,
    in_flight: usize,
    requests: u64,
    duration: Option<Duration>,
}

impl Load {
    fn new(arguments: &Bench) -> Self {
        // Other programs cannot have the keys by chance: 64 random bits.
        let random =
            std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), std::process::id());
        let prefix = format!("bench:{random:016x}:");
        let keys = (0..arguments.keys).map(|number| format!("{prefix}{number}").into_bytes()).collect();
        let duration = arguments.duration.or(arguments.requests.is_none().then_some(DURATION));
        let ttl = arguments.ttl.unwrap_or(duration.unwrap_or(Duration::from_secs(3600)) + OUTLIVE);
        let (reads, writes) = arguments.ratio;
        let (many, in_flight) = (arguments.many as usize, arguments.in_flight as usize);
        let mut value = vec![b'x'; arguments.size];
        // Values that compress well would flatter a cache that compresses.
        let mut random = Random(random);
        value.iter_mut().for_each(|byte| *byte = random.below(256).to_le_bytes()[0]);
        Self {
            prefix,
            keys,
            value,
            ttl,
            many,
            reads,
            writes,
            clients: arguments.clients as usize,
            in_flight,
            requests: arguments.requests.unwrap_or(u64::MAX),
            duration,
        }
    }

    fn entry<'a>(&'a self, key: &'a [u8]) -> NewEntry<'a> {
        NewEntry { key, value: &self.value, ttl: Some(self.ttl), tags: &[] }
    }

    /// Stores every key once, so that reads find them.
    fn store(&self, session: &Session, interrupt: &Interrupt) -> Result<()> {
        for keys in self.keys.chunks(CHUNK).take_while(|_| !interrupt.is_wanted()) {
            let entries: Vec<NewEntry<'_>> = keys.iter().map(|key| self.entry(key)).collect();
            let stored = answer(|context| session.cache.call(context, Operation::SetMany { entries: &entries }))?;
            if let Outcome::Stored(each) = stored {
                each.into_iter().collect::<Cached<()>>()?;
            }
        }
        Ok(())
    }

    /// Removes every key. Returns the number of those for which that failed, and an error of them.
    fn remove(&self, session: &Session) -> (usize, Option<Error>) {
        let (mut left, mut cause) = (0, None);
        for (number, keys) in self.keys.chunks(CHUNK).enumerate() {
            let names: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let deleted = answer(|context| session.cache.call(context, Operation::DeleteMany { keys: &names }));
            let failed: Vec<Error> = match deleted {
                Ok(deleted) => deleted.each().filter_map(Cached::err).collect(),
                Err(error) => vec![error; names.len()],
            };
            left += failed.len();
            let is_down = failed.len() == names.len();
            cause = failed.into_iter().next().or(cause);
            if is_down {
                // Each further attempt may take as long as the timeout.
                return (left + self.keys.len().saturating_sub((number + 1) * CHUNK), cause);
            }
        }
        (left, cause)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A generator of numbers, which need not be unpredictable: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

// ---- Measurement ----

/// The latencies of one kind of requests, and their number.
struct Kind {
    name: &'static str,
    latencies: Histogram<u64>,
}

/// The result of a measurement.
struct Measured {
    kinds: [Kind; 2],
    hits: u64,
    misses: u64,
    /// Requests that failed as a whole, and keys of requests for many that failed, by the kind of the error.
    errors: BTreeMap<String, u64>,
    elapsed: Duration,
    keys_left: usize,
}

const READS: usize = 0;
const WRITES: usize = 1;

impl Measured {
    fn new() -> Result<Self> {
        let latencies = || {
            let made = Histogram::new_with_bounds(1, LONGEST, 3);
            made.map_err(|error| Failure::Usage(format!("no histogram: {error}")))
        };
        let kinds = [Kind { name: "get", latencies: latencies()? }, Kind { name: "set", latencies: latencies()? }];
        let (elapsed, errors) = (Duration::ZERO, BTreeMap::new());
        Ok(Self { kinds, hits: 0, misses: 0, errors, elapsed, keys_left: 0 })
    }

    fn add(&mut self, other: &Self) {
        for (kind, others) in self.kinds.iter_mut().zip(&other.kinds) {
            // The bounds are the same: it cannot fail.
            let _ = kind.latencies.add(&others.latencies);
        }
        self.hits += other.hits;
        self.misses += other.misses;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
    }

    fn fail(&mut self, error: &Error) {
        *self.errors.entry(name(error)).or_default() += 1;
    }

    /// Counts a completion. The latency of a request that failed, also in part, is not one of the servers' answers.
    fn count(&mut self, kind: usize, nanos: u64, result: Cached<Outcome>) {
        let failed = self.errors.values().sum::<u64>();
        match result {
            Err(error) => self.fail(&error),
            Ok(Outcome::Miss) => self.misses += 1,
            Ok(Outcome::Value(_)) => self.hits += 1,
            Ok(Outcome::Values(values)) => values.into_iter().for_each(|value| match value {
                Ok(Some(_)) => self.hits += 1,
                Ok(None) => self.misses += 1,
                Err(error) => self.fail(&error),
            }),
            Ok(Outcome::Stored(each)) => each.into_iter().filter_map(Cached::err).for_each(|error| self.fail(&error)),
            Ok(_) => {}
        }
        if failed == self.errors.values().sum::<u64>() {
            self.kinds[kind].latencies.saturating_record(nanos.max(1));
        }
    }

    /// Returns the latencies of all requests.
    fn all(&self) -> Histogram<u64> {
        let mut all = self.kinds[READS].latencies.clone();
        let _ = all.add(&self.kinds[WRITES].latencies);
        all
    }
}

fn run(session: &Session, load: &Load, interrupt: &Interrupt) -> Result<Measured> {
    let handle = Arc::new(CacheHandle::new(session.cache.clone()));
    let (begin, submitted) = (Instant::now(), AtomicU64::new(0));
    let end = load.duration.map(|duration| begin + duration);
    let clients = thread::scope(|scope| {
        let client = |number: usize| {
            let (handle, submitted) = (handle.clone(), &submitted);
            move || Client::open(load, handle, number)?.run(submitted, end, interrupt)
        };
        let clients: Vec<_> = (0..load.clients).map(|number| scope.spawn(client(number))).collect();
        clients.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut measured = Measured::new()?;
    for client in clients {
        let broken = |_| Failure::Stream("a client".to_owned(), std::io::Error::other("it panicked"));
        measured.add(&client.map_err(broken)??);
    }
    measured.elapsed = begin.elapsed();
    Ok(measured)
}

/// A client: a thread with a queue.
struct Client<'a> {
    load: &'a Load,
    queue: Queue,
    random: Random,
    /// The time of submission of each request in flight, by the number in its label.
    begun: Vec<Instant>,
    free: Vec<usize>,
    measured: Measured,
}

impl<'a> Client<'a> {
    fn open(load: &'a Load, handle: Arc<CacheHandle>, number: usize) -> Result<Self> {
        let queue = Queue::open(handle, load.in_flight)?;
        let random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(number as u64 + 1));
        let (begun, free) = (vec![Instant::now(); load.in_flight], (0..load.in_flight).collect());
        Ok(Self { load, queue, random, begun, free, measured: Measured::new()? })
    }

    fn run(mut self, submitted: &AtomicU64, end: Option<Instant>, interrupt: &Interrupt) -> Result<Measured> {
        loop {
            let is_over = || interrupt.is_wanted() || end.is_some_and(|end| Instant::now() >= end);
            while !self.free.is_empty() && !is_over() && submitted.fetch_add(1, Relaxed) < self.load.requests {
                self.submit()?;
            }
            if self.free.len() == self.load.in_flight {
                break;
            }
            let (begun, free, measured) = (&self.begun, &mut self.free, &mut self.measured);
            self.queue.wait(self.load.in_flight, None, |Completion { label, result, .. }| {
                let place = usize::try_from(label.user_data).unwrap_or_default();
                let nanos = u64::try_from(begun[place].elapsed().as_nanos()).unwrap_or(u64::MAX);
                measured.count(usize::from(label.kind != 0), nanos, result);
                free.push(place);
            })?;
        }
        let closed = Error::new(ErrorKind::Closed, "the measurement is over");
        self.queue.close(closed.clone(), &closed, Instant::now() + Duration::from_secs(1));
        Ok(self.measured)
    }

    fn submit(&mut self) -> Result<()> {
        let Some(place) = self.free.pop() else { return Ok(()) };
        let (load, random) = (self.load, &mut self.random);
        let is_read = random.below(load.reads + load.writes) < load.reads;
        let keys: Vec<&[u8]> = (0..load.many)
            .map(|_| {
                let at = random.below(load.keys.len() as u64);
                load.keys[usize::try_from(at).unwrap_or_default()].as_slice()
            })
            .collect();
        let entries: Vec<NewEntry<'_>> = keys.iter().map(|key| load.entry(key)).collect();
        let operation = match (is_read, load.many) {
            (true, 1) => Operation::Get { key: keys[0] },
            (true, _) => Operation::GetMany { keys: &keys },
            (false, 1) => Operation::Set(entries[0]),
            (false, _) => Operation::SetMany { entries: &entries },
        };
        let label = Label { user_data: place as u64, kind: if is_read { 0 } else { 1 } };
        self.begun[place] = Instant::now();
        let mut submission = self.queue.submit(1)?;
        submission.add(label, Ok(operation.into()));
        submission.commit(|_| {});
        Ok(())
    }
}

// ---- Report ----

impl Measured {
    #[allow(clippy::cast_precision_loss)]
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    #[allow(clippy::cast_precision_loss)]
    fn hit_ratio(&self) -> Option<f64> {
        let reads = self.hits + self.misses;
        (reads > 0).then(|| self.hits as f64 / reads as f64)
    }

    fn to_json(&self, load: &Load, interrupted: bool) -> Json {
        let all = self.all();
        let latencies = |kind: &Histogram<u64>| {
            let mut report = json!({ "count": kind.len(), "max": micros(kind.max()) });
            for (name, percentile) in PERCENTILES {
                report[name] = micros(kind.value_at_percentile(percentile));
            }
            report
        };
        json!({
            "requests": all.len(),
            "per_second": self.per_second(all.len()).round(),
            "elapsed_ms": millis(self.elapsed),
            "hit_ratio": self.hit_ratio(),
            "errors": self.errors,
            "latency_us": { "all": latencies(&all), "get": latencies(&self.kinds[READS].latencies),
                            "set": latencies(&self.kinds[WRITES].latencies) },
            "histogram_us": buckets(&all).iter().map(|(from, count)| json!([micros(*from), count])).collect::<Vec<_>>(),
            "clients": load.clients,
            "in_flight": load.in_flight,
            "many": load.many,
            "value_bytes": load.value.len(),
            "keys": load.keys.len(),
            "key_prefix": load.prefix,
            "keys_left": self.keys_left,
            "interrupted": interrupted,
        })
    }

    fn written(&self, load: &Load, interrupted: bool) -> String {
        let all = self.all();
        let size = human::size(load.value.len() as u64);
        let mut lines = vec![
            format!(
                "{} clients, {} in flight each, {} keys of {size}, {} per request, {}:{} reads to writes",
                load.clients,
                load.in_flight,
                load.keys.len(),
                load.many,
                load.reads,
                load.writes
            ),
            format!(
                "{} requests in {}{}",
                all.len(),
                human::time(self.elapsed),
                if interrupted { ", interrupted" } else { "" }
            ),
            format!("throughput {:.0} requests/s", self.per_second(all.len())),
            format!(
                "hit ratio  {}",
                self.hit_ratio().map_or("unknown: nothing was read".to_owned(), |it| format!("{:.2} %", it * 100.0))
            ),
            format!("errors     {}", self.errors.values().sum::<u64>()),
        ];
        lines.extend(self.errors.iter().map(|(name, count)| format!("  {name:<12} {count}")));
        let cells = |name: &str, cells: Vec<String>| {
            format!("{name:<8}{}", cells.iter().map(|cell| format!("{cell:>12}")).collect::<String>())
        };
        let names = ["count"].into_iter().chain(PERCENTILES.map(|(name, _)| name)).chain(["max"]);
        lines.extend([String::new(), cells("latency", names.map(str::to_owned).collect())]);
        for (name, kind) in self.kinds.iter().map(|kind| (kind.name, &kind.latencies)).chain([("all", &all)]) {
            let values = PERCENTILES.map(|(_, percentile)| kind.value_at_percentile(percentile));
            let times = values.into_iter().chain([kind.max()]).map(|nanos| match kind.is_empty() {
                true => "-".to_owned(),
                false => human::time(Duration::from_nanos(nanos)),
            });
            lines.push(cells(name, [kind.len().to_string()].into_iter().chain(times).collect()));
        }
        lines.push(String::new());
        lines.extend(histogram(&all));
        lines.join("\n")
    }
}

#[allow(clippy::cast_precision_loss)]
fn micros(nanos: u64) -> Json {
    json!((nanos as f64 / 100.0).round() / 10.0)
}

/// Returns the number of latencies from each power of two of nanoseconds up to the next, without empty ends.
fn buckets(latencies: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut buckets = vec![0; 64];
    for step in latencies.iter_recorded() {
        buckets[step.value_iterated_to().max(1).ilog2() as usize] += step.count_at_value();
    }
    let used = |count: &u64| *count > 0;
    let (Some(first), Some(last)) = (buckets.iter().position(used), buckets.iter().rposition(used)) else {
        return Vec::new();
    };
    (first..=last).map(|power| (1 << power, buckets[power])).collect()
}

fn histogram(latencies: &Histogram<u64>) -> Vec<String> {
    let buckets = buckets(latencies);
    let most = buckets.iter().map(|bucket| bucket.1).max().unwrap_or_default();
    let line = |(from, count): &(u64, u64)| {
        let bar = "#".repeat(usize::try_from((count * BAR).div_ceil(most.max(1))).unwrap_or_default());
        format!(
            "{:>10} .. {:<10} {count:>9} {bar}",
            human::time(Duration::from_nanos(*from)),
            human::time(Duration::from_nanos(from * 2))
        )
    };
    buckets.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_outcome_is_counted_once_and_a_failure_is_no_latency_and_no_miss() {
        let mut measured = Measured::new().unwrap_or_else(|_| unreachable!());
        let refused = || Error::new(ErrorKind::Connect, "refused");
        measured.count(READS, 1000, Ok(Outcome::Miss));
        measured.count(READS, 3000, Ok(Outcome::Values(vec![Ok(None), Err(refused())])));
        measured.count(WRITES, 5000, Ok(Outcome::Done));
        measured.count(WRITES, 7000, Err(refused()));
        assert_eq!((measured.hits, measured.misses), (0, 2));
        assert_eq!(measured.errors, BTreeMap::from([("connect".to_owned(), 2)]));
        assert_eq!(measured.all().len(), 2);
        assert_eq!(buckets(&measured.all()), [(512, 1), (1024, 0), (2048, 0), (4096, 1)]);
        assert_eq!(histogram(&measured.all()).len(), 4);
    }
}
