//! yc_search over a million keys next to rapidfuzz's own process.extract in Python, query by query in turns.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::ptr::{null, null_mut};

use crate::abi::*;
use crate::clock::Stopwatch;
use crate::contender::yoked::message;
use crate::contender::{Contender, Kind, give_up};
use crate::keys::Random;
use crate::options::Options;
use crate::results::Results;
use crate::rounds::{interleave, median, ratio};
use crate::table::Table;

const KEYS: usize = 1_000_000;
const THRESHOLD: f64 = 80.0;
const LIMIT: usize = 10;
const ROUNDS: usize = 3;
const WORDS: [&str; 16] = [
    "user", "session", "order", "product", "invoice", "profile", "settings", "cart", "search", "article", "comment",
    "message", "token", "report", "account", "shipment",
];
/// A word, a mistyped word, a word that few have, one with a number, a long one, one that nothing is like.
const QUERIES: [&str; 6] = ["profile", "sesion", "invoice:4711", "user:00", "settings:shipment:article", "zzqxjk"];

/// The outcome of a search.
struct Found {
    seconds: f64,
    /// Best first, rounded to a tenth.
    scores: Vec<String>,
}

pub fn run(options: &Options, results: &mut Results) {
    if !options.wants(Kind::Yoked) {
        return;
    }
    eprintln!("fuzzy");
    let keys = keys(options.scaled(KEYS));
    let cache = filled(&keys);
    if let Err(why) = search(&cache, QUERIES[0]) {
        println!("\n### fuzzy\n\nNot measured: {why}.");
        return;
    }
    let mut python = Python::start(&write(&keys));
    let mut table =
        Table::new(["query", "YokedCache, ms", "rapidfuzz, ms", "ratio of times", "best score", "same scores"]);
    let ratios: Vec<Option<f64>> =
        QUERIES.iter().map(|query| compare(&cache, &mut python, query, &mut table)).collect();
    python.end();
    // Another answer has no time to compare.
    if let Some(ratios) = ratios.into_iter().collect::<Option<Vec<f64>>>() {
        results.keep_figure("fuzzy ratio", "YokedCache", median(&ratios));
    }
    let about = format!(
        "yc_search over {} keys, threshold {THRESHOLD}, limit {LIMIT}, beside rapidfuzz.process.extract with \
         partial_ratio, score_cutoff and limit the same; one thread each, less \
         the time other programs had its processor. The goal is on the median of the ratios.",
        keys.len()
    );
    table.print("fuzzy", &about);
}

/// Names as programs make them: word:number:word.
fn keys(count: usize) -> Vec<String> {
    let mut random = Random::new(7);
    let mut word = move || WORDS[(random.next() % WORDS.len() as u64) as usize];
    (0..count).map(|number| format!("{}:{number:07}:{}", word(), word())).collect()
}

fn filled(keys: &[String]) -> Contender {
    let cache = Kind::Yoked.open(keys.len() + keys.len() / 10, None);
    keys.iter().for_each(|key| cache.set(key.as_bytes(), b"1", YC_TTL_NEVER, &[]));
    cache
}

/// The ratio of the times, if the answers are the same.
fn compare(cache: &Contender, python: &mut Python, query: &str, table: &mut Table) -> Option<f64> {
    let found = interleave(ROUNDS, 2, |who| match who {
        0 => search(cache, query).unwrap_or_else(|why| give_up(&why)),
        _ => python.search(query),
    });
    let seconds = |who: usize| found[who].iter().map(|found: &Found| found.seconds).collect::<Vec<f64>>();
    let (own, other) = (seconds(0), seconds(1));
    let ratio = ratio(&own, &other);
    let same = found[0][0].scores == found[1][0].scores;
    let best = found[0][0].scores.first().map_or("–", String::as_str).to_owned();
    let times = [median(&own), median(&other)].map(|seconds| format!("{:.0}", seconds * 1e3));
    let [own, other] = times;
    table.row([query.to_owned(), own, other, format!("{ratio:.2}"), best, if same { "yes" } else { "NO" }.to_owned()]);
    same.then_some(ratio)
}

fn search(cache: &Contender, query: &str) -> Result<Found, String> {
    let options = SearchOptions {
        struct_size: size_of::<SearchOptions>(),
        threshold: THRESHOLD,
        limit: LIMIT,
        tags: null(),
        n_tags: 0,
        reserved: [0; 4],
    };
    let (mut matches, mut error) = (null_mut(), null_mut());
    let mut stopwatch = Stopwatch::start();
    // SAFETY: arguments as yc_search() wants them.
    let status = unsafe {
        yc_search(cache.handle(), query.as_ptr(), query.len(), &raw const options, &raw mut matches, &raw mut error)
    };
    let seconds = stopwatch.nanos() / 1e9;
    if status != YC_OK {
        return Err(message(error));
    }
    Ok(Found { seconds, scores: scores(matches) })
}

fn scores(matches: *mut std::ffi::c_void) -> Vec<String> {
    // SAFETY: the matches of a search, freed once.
    unsafe {
        let score = |rank| (*yc_matches_at(matches, rank)).score;
        let scores = (0..yc_matches_count(matches)).map(|rank| format!("{:.1}", score(rank))).collect();
        yc_matches_free(matches);
        scores
    }
}

/// The keys in a file, for Python.
fn write(keys: &[String]) -> PathBuf {
    let path = env::temp_dir().join(format!("yokedcache-bench-keys-{}.txt", std::process::id()));
    let written = File::create(&path).and_then(|file| {
        let mut file = BufWriter::new(file);
        keys.iter().try_for_each(|key| writeln!(file, "{key}"))?;
        file.flush()
    });
    written.unwrap_or_else(|error| give_up(&format!("{}: {error}", path.display())));
    path
}

/// fuzzy.py, which answers a line for a line.
struct Python {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    keys: PathBuf,
}

impl Python {
    fn start(keys: &Path) -> Self {
        let python = env::var("BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzzy.py");
        let mut command = Command::new(python);
        command.arg(script).arg(keys).args([THRESHOLD.to_string(), LIMIT.to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| give_up(&format!("python: {error}")));
        let questions = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, questions, answers, keys: keys.to_owned() }
    }

    /// Its answer: seconds, then scores.
    fn search(&mut self, query: &str) -> Found {
        let mut line = String::new();
        let asked = writeln!(self.questions, "{query}").and_then(|()| self.answers.read_line(&mut line));
        let mut words = line.split_whitespace();
        let seconds = words.next().and_then(|seconds| seconds.parse().ok());
        match (asked, seconds) {
            (Ok(_), Some(seconds)) => Found { seconds, scores: words.map(str::to_owned).collect() },
            _ => give_up("fuzzy.py did not answer; is rapidfuzz installed?"),
        }
    }

    fn end(self) {
        let Self { mut child, questions, answers, keys } = self;
        drop((questions, answers));
        let _ = child.wait();
        let _ = std::fs::remove_file(keys);
    }
}
