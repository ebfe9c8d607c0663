//! Copies the entries of one backend to another while both are in use.
//!
//! Entries are read in chunks and stored if the target does not have the key: an entry that is written there meanwhile
//! is kept. The versions of their tags are read at the target before tagged entries are read again at the source: an
//! entry that is invalidated while it is in flight is not served.
//!
//! The invalidations that this process makes at either side are known from `running`. Those of other processes are
//! detected by the tag versions. A tag whose version has changed at the source since it was first met is invalidated at
//! the target. Entries with a tag whose version has changed at the target are no longer copied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::Cache;
use super::running::{Run, Running};
use crate::backend::{Backend, CopiedEntry, Epoch, Imported, KeyFilter, ScanCursor, page};
use crate::config::MigrationConfig;
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::runtime::yield_now;
use crate::operation::Operation;
use crate::util::glob::Glob;
use crate::util::millis;

/// The number of keys that are listed at once: a migration is resumed at the beginning of a page.
const PAGE: usize = 1024;
/// Largest number of entries that are read at once.
const CHUNK: usize = 256;
/// Approximate number of bytes that are in flight at once.
const CHUNK_BYTES: usize = 8 << 20;
/// The number of retries of a chunk when a server fails, and the first pause between them; it doubles.
const RETRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// The number of kinds of failures in a report.
const TOLD: usize = 10;

/// The progress of a migration.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Number of keys that were examined.
    pub examined: u64,
    /// Number of entries that were stored at the target. In a dry run: that would be stored.
    pub copied: u64,
    /// Number of entries that were skipped without a failure.
    pub skipped: u64,
    /// Number of entries that could not be copied.
    pub failed: u64,
    /// The value of `MigrationConfig::resume` that continues here, or a little before; `None` at the end.
    pub resume: Option<String>,
}

/// Called after each chunk and at the end; returns false to stop the migration.
pub type OnProgress<'a> = &'a mut (dyn FnMut(&Progress) -> bool + Send);

impl Cache {
    /// Copies the entries of this cache to another: values, remaining times to live and tags. Returns the report as
    /// JSON.
    pub async fn migrate(
        &self,
        context: CallContext,
        target: &Cache,
        options: &MigrationConfig,
        told: OnProgress<'_>,
    ) -> Result<Json> {
        if self.is_same_store(target) {
            let text = "source and target are the same store and prefix: choose another target";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        migrate(context, &*self.backend, &*target.backend, Running::begin(Some(self), target), options, told).await
    }
}

/// Copies entries from one backend to another.
pub(super) async fn migrate(
    context: CallContext,
    from: &dyn Backend,
    to: &dyn Backend,
    running: Running,
    options: &MigrationConfig,
    told: OnProgress<'_>,
) -> Result<Json> {
    let mut migration = Migration::new(context, from, to, running.run(), options);
    let walked = migration.walk(told).await;
    // Also where it was stopped or failed: what was copied until then stays.
    let followed = if options.dry_run { Ok(()) } else { migration.follow_to_the_end(&running).await };
    let (elapsed, progress) = (migration.started.elapsed(), &migration.report.progress);
    if walked.and_then(|walked| followed.map(|()| walked))? {
        told(progress);
    }
    Ok(migration.report.to_json(elapsed, options.dry_run))
}

/// The text form of a position.
fn token(at: ScanCursor) -> String {
    let Epoch { process, layout, pages, restarts, repeated } = at.epoch;
    if at.epoch == Epoch::default() {
        return format!("{}.{}", at.part, at.offset);
    }
    format!("{}.{}.{process}.{layout}.{pages}.{restarts}.{}", at.part, at.offset, u8::from(repeated))
}

fn position(token: &str) -> Result<ScanCursor> {
    let refused = || {
        Error::new(
            ErrorKind::Invalid,
            "resume is not a position of an earlier migration: pass the resume of its last progress or report",
        )
    };
    parsed(&token.split('.').collect::<Vec<_>>()).ok_or_else(refused)
}

/// Parses a token. An old token without an epoch has two numbers: a backend whose positions need one starts again.
fn parsed(numbers: &[&str]) -> Option<ScanCursor> {
    let (part, offset, epoch) = match *numbers {
        [part, offset] => (part, offset, Epoch::default()),
        [part, offset, process, layout, pages, restarts, repeated] => {
            let epoch = Epoch {
                process: process.parse().ok()?,
                layout: layout.parse().ok()?,
                pages: pages.parse().ok()?,
                restarts: restarts.parse().ok()?,
                repeated: repeated == "1",
            };
            (part, offset, epoch)
        }
        _ => return None,
    };
    Some(ScanCursor { part: part.parse().ok()?, offset: offset.parse().ok()?, epoch })
}

/// Retries an operation that failed because of a server.
async fn retried<T, F: Future<Output = Result<T>>>(context: CallContext, mut attempt: impl FnMut() -> F) -> Result<T> {
    for retry in 0..RETRIES {
        match attempt().await {
            Err(error) if error.kind().is_outage() || error.is_retryable() => {
                context.pause(PAUSE * 2u32.pow(retry)).await;
            }
            done => return done,
        }
    }
    attempt().await
}

struct Migration<'a> {
    context: CallContext,
    from: &'a dyn Backend,
    to: &'a dyn Backend,
    options: &'a MigrationConfig,
    started: Instant,
    /// The number of entries that are read at once: fewer if they are large.
    chunk: usize,
    /// An entry of the last chunk that was stored.
    sample: Option<CopiedEntry>,
    /// The invalidations that this process makes during the migration.
    run: &'a Run,
    /// The version of each tag at the source when it was first met, or last invalidated at the target.
    source_versions: HashMap<u64, Option<u64>>,
    /// The version of each tag at the target when it was first met.
    target_versions: HashMap<u64, u64>,
    report: Report,
}

impl<'a> Migration<'a> {
    fn new(
        context: CallContext,
        from: &'a dyn Backend,
        to: &'a dyn Backend,
        run: &'a Run,
        options: &'a MigrationConfig,
    ) -> Self {
        let (source_versions, target_versions) = (HashMap::new(), HashMap::new());
        let (started, report) = (Instant::now(), Report::default());
        let (chunk, sample) = (CHUNK, None);
        Self { context, from, to, options, started, chunk, sample, run, source_versions, target_versions, report }
    }

    /// Copies page by page, and returns whether it reached the end.
    async fn walk(&mut self, told: OnProgress<'_>) -> Result<bool> {
        let (context, from, options) = (self.context, self.from, self.options);
        let mut next = Some(options.resume.as_deref().map_or(Ok(ScanCursor::default()), position)?);
        let glob = options.pattern.as_deref().map(|it| super::listing::checked_glob(it.as_bytes())).transpose()?;
        let literal_prefix = glob.as_ref().map(Glob::literal_prefix).unwrap_or_default();
        let filter = KeyFilter { literal_prefix: &literal_prefix, tags: &[] };
        self.adapt(&[]);
        while let Some(at) = next {
            let page = retried(context, || page(context, from, filter, at, PAGE)).await?;
            let keys: Vec<&[u8]> =
                page.keys.iter().filter(|key| glob.as_ref().is_none_or(|glob| glob.matches(key))).collect();
            self.report.progress.resume = next.map(token);
            if !self.copy_page(&keys, told).await? {
                return Ok(false);
            }
            next = page.next;
            self.report.progress.resume = next.map(token);
        }
        Ok(true)
    }

    /// Copies the entries of a page. Returns false to stop.
    async fn copy_page(&mut self, mut keys: &[&[u8]], told: OnProgress<'_>) -> Result<bool> {
        while !keys.is_empty() {
            let (chunk, rest) = keys.split_at(self.chunk.min(keys.len()));
            self.follow().await?;
            self.copy_chunk(chunk).await?;
            self.report.progress.examined += chunk.len() as u64;
            keys = rest;
            if !told(&self.report.progress) {
                return Ok(false);
            }
            yield_now().await;
            self.keep_rate().await;
        }
        Ok(true)
    }

    async fn copy_chunk(&mut self, keys: &[&[u8]]) -> Result<()> {
        let entries = self.export(keys).await?;
        self.adapt(&entries);
        if self.options.dry_run {
            self.report.progress.copied += entries.len() as u64;
            return Ok(());
        }
        let (tagged, plain): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| !entry.tags.is_empty());
        self.import(&plain, &[]).await?;
        self.import_tagged(tagged).await?;
        self.measure_drift().await;
        Ok(())
    }

    /// Reads the entries of some keys that can be copied.
    async fn export(&mut self, keys: &[&[u8]]) -> Result<Vec<CopiedEntry>> {
        let (context, from) = (self.context, self.from);
        let exported = retried(context, || async { whole(from.export(context, keys).await?) }).await?;
        let mut entries = Vec::with_capacity(exported.len());
        for entry in exported {
            match entry {
                Ok(Some(entry)) if !is_over(&entry) => entries.push(entry),
                Ok(_) => self.report.skip("gone"),
                Err(error) => self.report.fail(&error),
            }
        }
        Ok(entries)
    }

    /// Repeats at the target the invalidations that this process has made at the source.
    async fn follow(&mut self) -> Result<()> {
        let (context, to, names) = (self.context, self.to, self.run.take());
        if names.all {
            retried(context, || to.call(context, Operation::Flush { count: false })).await?;
        }
        let patterns: Vec<&[u8]> = names.patterns.iter().map(Vec::as_slice).collect();
        if !patterns.is_empty() {
            retried(context, || to.call(context, Operation::InvalidatePatterns { patterns: &patterns })).await?;
        }
        let tags: Vec<u64> = names.tags.iter().copied().collect();
        self.invalidate_at_target(&tags).await?;
        let keys: Vec<&[u8]> = names.keys.iter().map(Vec::as_slice).collect();
        for keys in keys.chunks(CHUNK) {
            retried(context, || async { to.call(context, Operation::DeleteMany { keys }).await?.expect_ok() }).await?;
        }
        Ok(())
    }

    async fn invalidate_at_target(&mut self, tags: &[u64]) -> Result<()> {
        let (context, to) = (self.context, self.to);
        for tags in tags.chunks(CHUNK) {
            retried(context, || to.invalidate_hashes(context, tags)).await?;
            // Ours is no invalidation by another process: their versions are those that are met next.
            self.target_versions.retain(|tag, _| !tags.contains(tag));
        }
        Ok(())
    }

    /// Invalidates at the target the tags that were invalidated at the source since they were first met.
    async fn follow_tags(&mut self, tags: &[u64]) -> Result<()> {
        let (context, from) = (self.context, self.from);
        for tags in tags.chunks(CHUNK) {
            let versions = retried(context, || from.known_versions(context, tags)).await?;
            let mut changed = Vec::new();
            for (tag, version) in tags.iter().zip(versions) {
                if self.source_versions.insert(*tag, version).is_some_and(|known| known != version) {
                    changed.push(*tag);
                }
            }
            self.invalidate_at_target(&changed).await?;
        }
        Ok(())
    }

    /// Returns the versions of tags at the target. A version that has changed since the tag was first met marks an
    /// invalidation: its entries are no longer copied.
    async fn versions_at_target(&mut self, tags: &[u64]) -> Result<Vec<TagVersion>> {
        let (context, to) = (self.context, self.to);
        let versions = retried(context, || to.tag_versions(context, tags)).await?;
        if to.capabilities().shared {
            let mut changed = Vec::new();
            for TagVersion { tag, version } in &versions {
                if self.target_versions.entry(*tag).or_insert(*version) != version {
                    changed.push(*tag);
                }
            }
            self.run.refuse_tags(&changed);
        }
        Ok(versions)
    }

    /// Repeats invalidations of the source at the target until none is left.
    async fn follow_to_the_end(&mut self, running: &Running) -> Result<()> {
        loop {
            self.follow().await?;
            let tags: Vec<u64> = self.source_versions.keys().copied().collect();
            self.follow_tags(&tags).await?;
            if running.ends() {
                return Ok(());
            }
        }
    }

    /// Reads tagged entries again after the versions of their tags at the target are known: an entry whose tag was
    /// invalidated at the source until now is gone, and an entry whose tag is invalidated at the target from now on
    /// will not be served.
    async fn import_tagged(&mut self, entries: Vec<CopiedEntry>) -> Result<()> {
        let mut entries = entries;
        for _ in 0..=RETRIES {
            if entries.is_empty() {
                return Ok(());
            }
            let tags: BTreeSet<u64> = entries.iter().flat_map(|entry| entry.tags.iter().copied()).collect();
            let tags: Vec<u64> = tags.into_iter().collect();
            self.follow_tags(&tags).await?;
            let versions = self.versions_at_target(&tags).await?;
            let keys: Vec<&[u8]> = entries.iter().map(|entry| &entry.key[..]).collect();
            let again = self.export(&keys).await?;
            let (known, other): (Vec<_>, Vec<_>) =
                again.into_iter().partition(|entry| entry.tags.iter().all(|tag| tags.contains(tag)));
            // Set again with other tags since: it may have none now.
            entries = self.import(&known, &versions).await?;
            entries.extend(other);
        }
        entries.iter().for_each(|_| self.report.skip("changing"));
        Ok(())
    }

    /// Stores entries. Returns those with a tag that was invalidated meanwhile.
    async fn import(&mut self, entries: &[CopiedEntry], versions: &[TagVersion]) -> Result<Vec<CopiedEntry>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let (context, to, run) = (self.context, self.to, self.run);
        let imported = retried(context, || async { whole(run.import(context, to, entries, versions).await?) }).await?;
        let mut outdated = Vec::new();
        for (entry, outcome) in entries.iter().zip(imported) {
            match outcome {
                Ok(Imported::Stored) => {
                    self.report.progress.copied += 1;
                    self.sample.get_or_insert_with(|| entry.clone());
                }
                Ok(Imported::Present) => self.report.skip("present"),
                Ok(Imported::Refused) => self.report.skip("invalidated"),
                Ok(Imported::Outdated) => outdated.push(entry.clone()),
                Err(error) => self.report.fail(&error),
            }
        }
        Ok(outdated)
    }

    /// Measures the drift of the expiry of one entry of a chunk.
    async fn measure_drift(&mut self) {
        let Some((ends, entry)) = self.sample.take().and_then(|entry| Some((entry.ends?, entry))) else { return };
        let keys: [&[u8]; 1] = [&entry.key];
        let arrived = self.to.export(self.context, &keys).await.ok().and_then(|mut found| found.pop()?.ok()?);
        if let Some(arrived) = arrived.and_then(|it| it.ends) {
            let drift = arrived.saturating_duration_since(ends).max(ends.saturating_duration_since(arrived));
            self.report.drift = self.report.drift.max(Some(drift));
        }
    }

    /// Adapts the size of a chunk: fewer large entries at a time, and small steps for a low rate.
    fn adapt(&mut self, entries: &[CopiedEntry]) {
        let bytes: usize = entries.iter().map(|entry| entry.value.as_bytes().len()).sum();
        let fitting = CHUNK_BYTES / (bytes / entries.len().max(1)).max(1);
        let steady = if self.options.rate == 0 { u64::MAX } else { self.options.rate / 10 };
        self.chunk = fitting.min(usize::try_from(steady).unwrap_or(CHUNK)).clamp(1, CHUNK);
    }

    async fn keep_rate(&self) {
        if self.options.rate > 0 {
            #[allow(clippy::cast_precision_loss)]
            let due = self.report.progress.examined as f64 / self.options.rate as f64;
            self.context.pause(Duration::from_secs_f64(due).saturating_sub(self.started.elapsed())).await;
        }
    }
}

/// Returns the outcomes, or an error to retry all of them if a server failed for some.
fn whole<T>(outcomes: Vec<Result<T>>) -> Result<Vec<Result<T>>> {
    match outcomes.iter().find_map(|outcome| outcome.as_ref().err().filter(|error| error.kind().is_outage())) {
        Some(error) => Err(error.clone()),
        None => Ok(outcomes),
    }
}

fn is_over(entry: &CopiedEntry) -> bool {
    entry.ttl().is_some_and(|left| left.is_zero())
}

#[derive(Default)]
struct Report {
    progress: Progress,
    skipped: BTreeMap<&'static str, u64>,
    failures: BTreeMap<String, u64>,
    drift: Option<Duration>,
}

impl Report {
    fn skip(&mut self, reason: &'static str) {
        self.progress.skipped += 1;
        *self.skipped.entry(reason).or_default() += 1;
    }

    fn fail(&mut self, error: &Error) {
        self.progress.failed += 1;
        if self.failures.len() < TOLD || self.failures.contains_key(error.message()) {
            *self.failures.entry(error.message().to_owned()).or_default() += 1;
        }
    }

    fn to_json(&self, elapsed: Duration, dry_run: bool) -> Json {
        json!({
            "complete": self.progress.resume.is_none(),
            "dry_run": dry_run,
            "examined": self.progress.examined,
            "copied": self.progress.copied,
            "skipped": self.skipped,
            "failed": self.progress.failed,
            "failures": self.failures,
            "largest_ttl_drift_ms": self.drift.map(millis),
            "elapsed_ms": millis(elapsed),
            "resume": self.progress.resume,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_position() {
        let epoch = Epoch { process: u64::MAX, layout: 7, pages: u32::MAX, restarts: 16, repeated: true };
        let plain = ScanCursor { part: u32::MAX, offset: u64::MAX, ..ScanCursor::default() };
        for at in [ScanCursor::default(), plain, ScanCursor { part: 3, offset: 9, epoch }] {
            assert_eq!(position(&token(at)).unwrap(), at);
        }
        for wrong in [
            "",
            "1",
            "1.",
            ".1",
            "a.b",
            "1.2.3",
            "1.2.3.4.5.6",
            "1.2.3.4.5.6.1.8",
            "1.2.3.4.x.6.0",
            "-1.2",
            "4294967296.0",
        ] {
            assert_eq!(position(wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
        }
    }
}
