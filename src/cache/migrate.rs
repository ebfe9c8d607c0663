//! Copies the entries of one backend to another while both are in use.
//!
//! Entries are read in chunks and stored if the target does not have the key: an entry that is written there meanwhile
//! is kept. The versions of their tags are read at the target before tagged entries are read again at the source: an
//! entry that is invalidated while it is in flight is not served.
//!
//! The invalidations that this process makes at either side are known from `running`. Those of other processes are
//! detected by the tag versions. A tag whose version has changed at the source since it was first met is invalidated at
//! the target. Entries with a tag whose version has changed at the target are no longer copied.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::Cache;
use super::progress::{OnProgress, Report, position, token};
use super::retry::{RETRIES, retried, retried_each};
use super::running::{Names, Run, Running};
use crate::backend::{Backend, CopiedEntry, Imported, KeyFilter, Missing, ScanCursor, page};
use crate::config::MigrationConfig;
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::runtime::yield_now;
use crate::key::check_pattern;
use crate::naming::{Naming, StoredGlob};
use crate::operation::{Operation, PatternMode};

/// The number of keys that are listed at once: a migration is resumed at the beginning of a page.
const PAGE: usize = 1024;
/// Largest number of entries that are read at once.
const CHUNK: usize = 256;
/// Approximate number of bytes that are in flight at once.
const CHUNK_BYTES: usize = 8 << 20;
impl Cache {
    /// Copies the entries of this cache to another: values, remaining times to live and tags. Returns the report as
    /// JSON.
    pub async fn migrate(
        &self,
        context: CallContext,
        target: &Cache,
        options: &MigrationConfig,
        on_progress: OnProgress<'_>,
    ) -> Result<Json> {
        if self.is_view() || target.is_view() {
            let text = "a view cannot be migrated by itself: migrate its cache, with all namespaces";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        if self.is_same_store(target) {
            let text = "source and target are the same store and prefix: choose another target";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        migrate(context, &*self.backend, &*target.backend, Running::begin(Some(self), target), options, on_progress)
            .await
    }
}

/// Copies entries from one backend to another.
pub(super) async fn migrate(
    context: CallContext,
    from: &dyn Backend,
    to: &dyn Backend,
    running: Running,
    options: &MigrationConfig,
    on_progress: OnProgress<'_>,
) -> Result<Json> {
    let mut migration = Migration::new(context, from, to, running.run(), options);
    let walked = migration.walk(on_progress).await;
    // The entries that were copied remain, also if it was stopped or failed: invalidations of them have to follow.
    let followed = if options.dry_run { Ok(()) } else { migration.follow_to_the_end(&running).await };
    let (elapsed, progress) = (migration.started.elapsed(), &migration.report.progress);
    if walked.and_then(|walked| followed.map(|()| walked))? {
        on_progress(progress);
    }
    Ok(migration.report.to_json(elapsed, options.dry_run))
}

/// Returns the glob for the stored names of the keys that match a pattern; those of namespaces are not among them.
fn stored_glob(pattern: &str) -> Result<StoredGlob> {
    check_pattern(pattern.as_bytes()).map(|()| StoredGlob::new(&Naming::default().stored_pattern(pattern.as_bytes())))
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
    async fn walk(&mut self, on_progress: OnProgress<'_>) -> Result<bool> {
        let (context, from, options) = (self.context, self.from, self.options);
        let mut next = Some(options.resume.as_deref().map_or(Ok(ScanCursor::default()), position)?);
        let glob = options.pattern.as_deref().map(stored_glob).transpose()?;
        let literal_prefix = glob.as_ref().map(StoredGlob::literal_prefix).unwrap_or_default();
        let filter = KeyFilter { literal_prefix: &literal_prefix, tags: &[], hidden: false };
        self.adapt(&[]);
        while let Some(at) = next {
            let page = retried(context, || page(context, from, filter, at, PAGE)).await?;
            let keys: Vec<&[u8]> =
                page.keys.iter().filter(|key| glob.as_ref().is_none_or(|glob| glob.matches(key))).collect();
            self.report.progress.resume = next.map(token);
            if !self.copy_page(&keys, on_progress).await? {
                return Ok(false);
            }
            next = page.next;
            self.report.progress.resume = next.map(token);
        }
        Ok(true)
    }

    /// Copies the entries of a page. Returns false to stop.
    async fn copy_page(&mut self, mut keys: &[&[u8]], on_progress: OnProgress<'_>) -> Result<bool> {
        while !keys.is_empty() {
            let (chunk, rest) = keys.split_at(self.chunk.min(keys.len()));
            self.follow().await?;
            self.copy_chunk(chunk).await?;
            self.report.progress.examined += chunk.len() as u64;
            keys = rest;
            if !on_progress(&self.report.progress) {
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
        let export = |at: Vec<usize>| async move {
            let keys: Vec<&[u8]> = at.into_iter().map(|at| keys[at]).collect();
            from.export(context, &keys).await
        };
        let exported = retried_each(context, keys.len(), export).await?;
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

    /// Repeats at the target the invalidations that this process has made at the source. Those that fail remain to be
    /// repeated.
    async fn follow(&mut self) -> Result<()> {
        let mut names = self.run.take();
        let followed = self.invalidate_names(&mut names).await;
        self.run.put_back(names);
        followed
    }

    /// Invalidates names at the target, and removes from them what was invalidated.
    async fn invalidate_names(&mut self, names: &mut Names) -> Result<()> {
        let (context, to) = (self.context, self.to);
        if names.all {
            retried(context, || to.call(context, Operation::Flush { count: false })).await?;
            names.all = false;
        }
        let patterns: Vec<&[u8]> = names.patterns.iter().map(Vec::as_slice).collect();
        if !patterns.is_empty() {
            retried(context, || {
                to.call(context, Operation::InvalidatePatterns { patterns: &patterns, mode: PatternMode::Walk })
            })
            .await?;
            names.clear_patterns();
        }
        let tags: Vec<u64> = names.tags.iter().copied().collect();
        self.invalidate_at_target(&tags).await?;
        names.tags.clear();
        let keys: Vec<&[u8]> = names.keys.iter().map(Vec::as_slice).collect();
        for keys in keys.chunks(CHUNK) {
            self.delete_at_target(keys).await?;
        }
        names.keys.clear();
        Ok(())
    }

    async fn delete_at_target(&self, keys: &[&[u8]]) -> Result<()> {
        let (context, to) = (self.context, self.to);
        let delete = |at: Vec<usize>| async move {
            let keys: Vec<&[u8]> = at.into_iter().map(|at| keys[at]).collect();
            Ok(to.call(context, Operation::DeleteMany { keys: &keys }).await?.each().collect())
        };
        retried_each(context, keys.len(), delete).await?.into_iter().try_for_each(|deleted| deleted.map(drop))
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
            let versions = retried(context, || from.tag_versions(context, tags, Missing::Stays)).await?;
            let versions: HashMap<u64, u64> = versions.iter().map(|it| (it.tag, it.version)).collect();
            let mut changed = Vec::new();
            for tag in tags {
                let version = versions.get(tag).copied();
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
        let versions = retried(context, || to.tag_versions(context, tags, Missing::CREATED_FOR_IMPORT)).await?;
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
            let current = self.export(&keys).await?;
            let (known, other): (Vec<_>, Vec<_>) =
                current.into_iter().partition(|entry| entry.tags.iter().all(|tag| tags.contains(tag)));
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
        let import = |at: Vec<usize>| async move {
            let entries: Vec<&CopiedEntry> = at.into_iter().map(|at| &entries[at]).collect();
            run.import(context, to, &entries, versions).await
        };
        let imported = retried_each(context, entries.len(), import).await?;
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

fn is_over(entry: &CopiedEntry) -> bool {
    entry.ttl().is_some_and(|left| left.is_zero())
}
