//! The metrics of a cache, in the text format of Prometheus, version 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Cache;
use crate::backend::health::{FallbackHealth, Health, Status};
use crate::backend::near::Staleness;
use crate::backend::{Counters, NearActivity};
use crate::cache::latency::{BOUNDS, Distribution, SAMPLE};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::runtime::{Runtime, is_inside};

/// The histogram of the durations of operations.
const DURATION: &str = "yokedcache_operation_duration_seconds";

impl Cache {
    /// Returns counters, gauges and a latency histogram in the text format of Prometheus, also while servers are down.
    /// Makes no request to a server whose time grows with the number of its entries.
    pub async fn metrics(&self, context: CallContext) -> Result<String> {
        self.exposition(context, None).await.map(Exposition::into_text)
    }

    /// Returns the metrics. With a name, each sample has it as the label `cache`.
    async fn exposition(&self, context: CallContext, name: Option<&str>) -> Result<Exposition> {
        let labels = [("backend", self.backend.name()), ("key_prefix", &*self.common.key_prefix)];
        let namespace = self.namespace().map(|namespace| ("namespace", namespace));
        let name = name.map(|name| ("cache", name));
        let mut exposition = Exposition::new(&name.into_iter().chain(labels).chain(namespace).collect::<Vec<_>>());
        self.write_counters(&mut exposition, &self.counters());
        self.write_usage(context, &mut exposition).await?;
        exposition.single(
            "yokedcache_in_flight",
            Kind::Gauge,
            "Requests in flight to servers.",
            self.backend.in_flight(),
        );
        let uptime = self.common.opened.elapsed().as_secs_f64();
        exposition.single("yokedcache_uptime_seconds", Kind::Gauge, "Time since the cache was opened.", uptime);
        write_health(&mut exposition, &self.backend.health(context).await);
        if let Some(fallback) = self.backend.fallback() {
            write_fallback(&mut exposition, &fallback);
        }
        if let Some(near) = self.backend.near() {
            write_near(&mut exposition, &near);
        }
        write_durations(&mut exposition, self.latencies.distributions());
        if !self.is_view() {
            write_namespaces(&mut exposition, &self.common.namespaces.counters());
        }
        Ok(exposition)
    }

    fn write_counters(&self, exposition: &mut Exposition, counters: &Counters) {
        let mut counter = |name: &str, help, value| exposition.single(name, Kind::Counter, help, value);
        counter("yokedcache_hits_total", "Reads that found their key.", counters.hits);
        counter("yokedcache_misses_total", "Reads that did not find their key.", counters.misses);
        counter("yokedcache_sets_total", "Entries stored.", counters.sets);
        counter("yokedcache_deletes_total", "Existing keys that were deleted.", counters.deletes);
        let help = "Invalidations of tags and patterns, clears and flushes that were made.";
        counter("yokedcache_invalidations_total", help, counters.invalidations);
        if self.counts_removals() {
            counter("yokedcache_evictions_total", "Entries removed to make room.", counters.evictions);
            counter("yokedcache_expirations_total", "Entries removed because they had expired.", counters.expirations);
        }
        counter(
            "yokedcache_decode_errors_total",
            "Stored values that could not be decoded; each read of one is a miss.",
            counters.decode_errors,
        );
        counter("yokedcache_reconnects_total", "Connections that were re-established.", counters.reconnects);
        for (name, help, count) in self.load_counters.all() {
            counter(&format!("yokedcache_{name}_total"), help, count);
        }
    }

    /// Writes the size of the memory backend. Other backends would list their names for it, at each scrape.
    async fn write_usage(&self, context: CallContext, exposition: &mut Exposition) -> Result<()> {
        if self.answers_at_once() && !self.has_namespace() {
            let usage = self.usage(context).await?;
            exposition.single(
                "yokedcache_keys",
                Kind::Gauge,
                "Readable entries, as many as a listing returns.",
                usage.keys,
            );
            exposition.single("yokedcache_bytes", Kind::Gauge, "Bytes that the entries use.", usage.bytes);
        }
        Ok(())
    }
}

/// Returns the metrics of many caches as one text, which names each family once. Each sample has the name of its cache as
/// the label `cache`. A cache that is closed meanwhile is left out. All servers are asked at the same time.
pub async fn metrics_of_many(context: CallContext, caches: Vec<(Box<str>, Arc<Cache>)>) -> Result<String> {
    let on_servers = caches.iter().filter(|(_, cache)| !cache.answers_at_once()).count();
    // A task of the runtime, such as one that writes a log line, must not wait for another task.
    let runtime = if on_servers > 1 && !is_inside() { Runtime::acquire().ok() } else { None };
    let asked: Vec<_> = caches.into_iter().map(|(name, cache)| Asked::begin(runtime.as_deref(), name, cache)).collect();
    let mut page = Exposition::new(&[]);
    for asked in asked {
        match asked.answer(context).await {
            Ok(exposition) => page.append(exposition),
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => return Err(error),
        }
    }
    Ok(page.into_text())
}

/// A cache whose metrics were asked for.
enum Asked {
    /// Asks in the context of the call, when the answer is needed.
    Later(Box<str>, Arc<Cache>),
    OnRuntime(oneshot::Receiver<Result<Exposition>>),
}

impl Asked {
    fn begin(runtime: Option<&Runtime>, name: Box<str>, cache: Arc<Cache>) -> Self {
        let Some(runtime) = runtime.filter(|_| !cache.answers_at_once()) else { return Self::Later(name, cache) };
        let (sender, receiver) = oneshot::channel();
        runtime.spawn(Box::pin(async move {
            // The receiver is gone if the call has failed.
            _ = sender.send(cache.exposition(CallContext::task(), Some(&name)).await);
        }));
        Self::OnRuntime(receiver)
    }

    async fn answer(self, context: CallContext) -> Result<Exposition> {
        match self {
            Self::Later(name, cache) => cache.exposition(context, Some(&name)).await,
            Self::OnRuntime(receiver) => {
                receiver.await.unwrap_or_else(|lost| Err(Error::panicked("the metrics of a cache", Box::new(lost))))
            }
        }
    }
}

fn write_health(exposition: &mut Exposition, health: &Health) {
    let serves = u8::from(health.status != Status::Unhealthy);
    exposition.single("yokedcache_up", Kind::Gauge, "1 if the cache can serve, also in part; else 0.", serves);
    let servers = health.details.iter().flat_map(|details| &details.servers);
    let samples: Vec<_> = servers.map(|server| (server.server.as_str(), u8::from(server.answer.is_ok()))).collect();
    if samples.is_empty() {
        return;
    }
    exposition.family("yokedcache_server_up", Kind::Gauge, "1 if the server replies, else 0.");
    for (name, answers) in samples {
        exposition.sample("yokedcache_server_up", &[("server", name)], answers);
    }
}

fn write_fallback(exposition: &mut Exposition, fallback: &FallbackHealth) {
    let serves = u8::from(fallback.outage.is_some());
    exposition.single("yokedcache_fallback_active", Kind::Gauge, "1 if the fallback serves, else 0.", serves);
    let name = "yokedcache_fallback_answers_total";
    exposition.single(name, Kind::Counter, "Calls that the fallback answered.", fallback.answers);
}

fn write_namespaces(exposition: &mut Exposition, namespaces: &[(Box<str>, Counters)]) {
    type Count = fn(&Counters) -> u64;
    let families: [(&str, &str, Count); 5] = [
        ("yokedcache_namespace_hits_total", "Reads in a namespace that found their key.", |it| it.hits),
        ("yokedcache_namespace_misses_total", "Reads in a namespace that did not find their key.", |it| it.misses),
        ("yokedcache_namespace_sets_total", "Entries stored in a namespace.", |it| it.sets),
        ("yokedcache_namespace_deletes_total", "Existing keys of a namespace that were deleted.", |it| it.deletes),
        (
            "yokedcache_namespace_invalidations_total",
            "Invalidations, clears and flushes of a namespace that were made.",
            |it| it.invalidations,
        ),
    ];
    for (name, help, count) in families.into_iter().filter(|_| !namespaces.is_empty()) {
        exposition.family(name, Kind::Counter, help);
        for (namespace, counters) in namespaces {
            exposition.sample(name, &[("namespace", namespace)], count(counters));
        }
    }
}

fn write_near(exposition: &mut Exposition, near: &NearActivity) {
    let mut single =
        |name: &str, kind, help, value| exposition.single(&format!("yokedcache_near_{name}"), kind, help, value);
    single("hits_total", Kind::Counter, "Reads that a copy in the process served.", near.hits);
    single("fills_total", Kind::Counter, "Copies that were kept.", near.fills);
    single(
        "revoked_fills_total",
        Kind::Counter,
        "Entries that were read and not kept, because they changed meanwhile or had no room.",
        near.revoked,
    );
    single(
        "confirmed_total",
        Kind::Counter,
        "Copies that were served again, because the server has confirmed them.",
        near.confirmed,
    );
    single("flushes_total", Kind::Counter, "Removals of all copies.", near.staleness.flushes);
    single("keys", Kind::Gauge, "Copies in the process.", near.usage.keys);
    single("bytes", Kind::Gauge, "Bytes that the copies use.", near.usage.bytes);
    single("serving", Kind::Gauge, "1 if copies are served, else 0.", u64::from(near.is_fresh));
    let Staleness { p50, p99, max, disconnected, .. } = near.staleness;
    let (name, help) =
        ("yokedcache_near_disconnected_seconds_total", "Time without a connection that tells of changes.");
    exposition.single(name, Kind::Counter, help, disconnected.as_secs_f64());
    let (name, help) = ("yokedcache_near_delay_seconds", "Time from a change until it is known in the process.");
    exposition.family(name, Kind::Gauge, help);
    for (quantile, delay) in [("0.5", p50), ("0.99", p99), ("1", max)] {
        if let Some(delay) = delay {
            exposition.sample(name, &[("quantile", quantile)], delay.as_secs_f64());
        }
    }
}

fn write_durations(exposition: &mut Exposition, distributions: impl Iterator<Item = Distribution>) {
    let help = format!(
        "Duration of operations: one in {SAMPLE} of get, set, delete, inspect (exists, ttl, expire) and get_or_lease is timed, and every invalidate, list, many and load."
    );
    exposition.family(DURATION, Kind::Histogram, &help);
    distributions.for_each(|distribution| write_distribution(exposition, &distribution));
}

fn write_distribution(exposition: &mut Exposition, distribution: &Distribution) {
    let operation = ("operation", distribution.operation);
    let (bucket, mut so_far) = (format!("{DURATION}_bucket"), 0);
    let bounds = BOUNDS.map(|nanos| Duration::from_nanos(nanos).as_secs_f64().to_string());
    let ends = bounds.iter().map(String::as_str).chain(["+Inf"]);
    for (end, count) in ends.zip(distribution.counts) {
        so_far += count;
        exposition.sample(&bucket, &[operation, ("le", end)], so_far);
    }
    exposition.sample(&format!("{DURATION}_sum"), &[operation], distribution.sum.as_secs_f64());
    exposition.sample(&format!("{DURATION}_count"), &[operation], so_far);
}

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A number that only increases.
    Counter,
    /// A number that increases and decreases.
    Gauge,
    /// Counts below bounds, with `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// Metric families. Every sample has the common labels.
struct Exposition {
    families: Vec<Family>,
    common: String,
}

struct Family {
    name: String,
    /// The lines before the samples.
    head: String,
    samples: String,
}

impl Exposition {
    /// Creates an exposition without families.
    fn new(common: &[(&str, &str)]) -> Self {
        Self { families: Vec::new(), common: common.iter().map(label).collect::<Vec<_>>().join(",") }
    }

    /// Appends a family with one sample.
    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Starts a family. Its samples follow before the next family starts.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.families.push(Family { name: name.to_owned(), head, samples: String::new() });
    }

    /// Appends a sample of the last family, with labels in addition to the common ones.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let Some(Family { samples, .. }) = self.families.last_mut() else { return };
        let _ = write!(samples, "{name}{{{}", self.common);
        for own in labels {
            let _ = write!(samples, ",{}", label(own));
        }
        let _ = writeln!(samples, "}} {value}");
    }

    /// Appends the samples of another exposition to the families of the same names, and its other families behind them.
    fn append(&mut self, other: Self) {
        for family in other.families {
            match self.families.iter_mut().find(|known| known.name == family.name) {
                Some(known) => known.samples.push_str(&family.samples),
                None => self.families.push(family),
            }
        }
    }

    /// Returns the text. Every line has a line end.
    fn into_text(self) -> String {
        self.families.into_iter().flat_map(|family| [family.head, family.samples]).collect()
    }
}

fn label((name, value): &(&str, &str)) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::backend::health::{Details, ServerAnswer, ServerHealth};
    use crate::config::Config;
    use crate::operation::NewEntry;

    fn of_memory() -> Cache {
        Cache::open(Config::from_text("memory://?key_prefix=app", &|_| None).unwrap()).unwrap()
    }

    fn scrape(cache: &Cache) -> String {
        cache.metrics(CallContext::task()).now_or_never().unwrap().unwrap()
    }

    fn value_of(text: &str, sample: &str) -> String {
        let line =
            text.lines().find(|line| line.starts_with(sample)).unwrap_or_else(|| panic!("no {sample} in {text}"));
        line.rsplit(' ').next().unwrap().to_owned()
    }

    #[test]
    fn counters_are_those_of_the_cache_and_a_scrape_changes_none() {
        let cache = of_memory();
        for key in [b"a", b"b"] {
            cache
                .set(CallContext::task(), NewEntry { key, value: b"v", ttl: None, tags: &[] })
                .now_or_never()
                .unwrap()
                .unwrap();
        }
        let found = |key| cache.get(CallContext::task(), key).now_or_never().unwrap().unwrap().is_some();
        assert!(found(b"a") && !found(b"c"));
        for _ in 0..2 {
            let text = scrape(&cache);
            for (name, value) in
                [("hits_total", "1"), ("misses_total", "1"), ("sets_total", "2"), ("keys", "2"), ("up", "1")]
            {
                let sample = format!("yokedcache_{name}{{backend=\"memory\",key_prefix=\"app\"}}");
                assert_eq!(value_of(&text, &sample), value, "{name}");
            }
            assert!(text.ends_with('\n') && !text.contains("server_up"));
        }
    }

    #[test]
    fn a_family_is_named_once() {
        let text = scrape(&of_memory());
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert!(once.len() == names.len() && names.len() >= 12, "{names:?}");
    }

    #[test]
    fn the_text_of_many_has_each_family_once_with_the_samples_of_all() {
        let open = |url| {
            let cache = Cache::open(Config::from_text(url, &|_| None).unwrap()).unwrap();
            Arc::new(cache)
        };
        let (one, two) = (open("memory://?key_prefix=one"), open("memory://?key_prefix=two"));
        let named = vec![("a".into(), one.clone()), ("b\"\\".into(), two), ("c".into(), one)];
        let of_many = |named| metrics_of_many(CallContext::task(), named).now_or_never().unwrap().unwrap();
        let text = of_many(named);
        let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(types, scrape(&of_memory()).lines().filter(|line| line.starts_with("# TYPE ")).collect::<Vec<_>>());
        let sets: Vec<&str> = text.lines().filter(|line| line.starts_with("yokedcache_sets_total{")).collect();
        assert_eq!(
            sets,
            [
                r#"yokedcache_sets_total{cache="a",backend="memory",key_prefix="one"} 0"#,
                r#"yokedcache_sets_total{cache="b\"\\",backend="memory",key_prefix="two"} 0"#,
                r#"yokedcache_sets_total{cache="c",backend="memory",key_prefix="one"} 0"#,
            ]
        );
        assert_eq!(of_many(Vec::new()), "");
    }

    #[test]
    fn a_family_of_one_cache_alone_comes_last() {
        let mut page = Exposition::new(&[]);
        for (cache, names) in [("1", ["up", "keys"]), ("2", ["up", "servers"])] {
            let mut own = Exposition::new(&[("cache", cache)]);
            names.into_iter().for_each(|name| own.single(name, Kind::Gauge, "H.", 1));
            page.append(own);
        }
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["up{cache=\"1\"} 1", "up{cache=\"2\"} 1", "keys{cache=\"1\"} 1", "servers{cache=\"2\"} 1"]);
    }

    #[test]
    fn buckets_add_up() {
        let mut exposition = Exposition::new(&[("backend", "b")]);
        let mut counts = [0; BOUNDS.len() + 1];
        (counts[0], counts[1], counts[BOUNDS.len()]) = (2, 3, 4);
        let sum = Duration::from_millis(1500);
        write_durations(&mut exposition, [Distribution { operation: "get", counts, sum }].into_iter());
        let text = exposition.into_text();
        let bucket =
            |le: &str| value_of(&text, &format!("{DURATION}_bucket{{backend=\"b\",operation=\"get\",le=\"{le}\"}}"));
        assert_eq!([bucket("0.00000025"), bucket("0.000001"), bucket("1"), bucket("+Inf")], ["2", "5", "5", "9"]);
        assert_eq!(value_of(&text, &format!("{DURATION}_sum")), "1.5");
        assert_eq!(value_of(&text, &format!("{DURATION}_count")), "9");
    }

    #[test]
    fn each_server_is_up_or_not_and_one_is_enough_to_serve() {
        let answer = || Ok(ServerAnswer { ping: Duration::ZERO, statistics: Ok(Vec::new()) });
        let up = ServerHealth { server: "a:1".to_owned(), answer: answer(), in_ring: None };
        let down = ServerHealth { server: "b:\"2".to_owned(), answer: Err("refused".to_owned()), in_ring: None };
        let text = |servers: &[&ServerHealth]| {
            let servers = servers.iter().map(|server| (*server).clone()).collect();
            let mut exposition = Exposition::new(&[("backend", "b")]);
            write_health(&mut exposition, &Health::of_servers(Details { servers, in_flight: 0, topology: None }));
            exposition.into_text()
        };
        let degraded = text(&[&up, &down]);
        assert_eq!(value_of(&degraded, "yokedcache_up"), "1");
        assert_eq!(value_of(&degraded, "yokedcache_server_up{backend=\"b\",server=\"a:1\"}"), "1");
        assert_eq!(value_of(&degraded, "yokedcache_server_up{backend=\"b\",server=\"b:\\\"2\"}"), "0");
        assert_eq!(value_of(&text(&[&down]), "yokedcache_up"), "0");
    }

    #[test]
    fn values_and_helps_are_escaped_and_each_line_ends() {
        let mut exposition = Exposition::new(&[("a", "back\\slash"), ("b", "quo\"te")]);
        exposition.single("up", Kind::Gauge, "One\nor \\ nothing.", 1);
        exposition.family("seconds", Kind::Histogram, "Times.");
        exposition.sample("seconds_bucket", &[("le", "+Inf"), ("c", "new\nline")], 0.25);
        let wanted = r#"# HELP up One\nor \\ nothing.
# TYPE up gauge
up{a="back\\slash",b="quo\"te"} 1
# HELP seconds Times.
# TYPE seconds histogram
seconds_bucket{a="back\\slash",b="quo\"te",le="+Inf",c="new\nline"} 0.25
"#;
        assert_eq!(exposition.into_text(), wanted);
    }
}
