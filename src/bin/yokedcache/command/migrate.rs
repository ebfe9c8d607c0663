//! Copies one cache into another, with a progress bar and a checkpoint for a run that is interrupted.

use std::fs;
use std::io::{self, ErrorKind as Io, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};
use yokedcache::cache::{Cache, Progress};
use yokedcache::config::{Config, MigrationConfig};
use yokedcache::exec::blocking::{answer, wait};

use super::health::line;
use crate::arguments::Migrate;
use crate::failure::{Exit, Failure, Result};
use crate::session::Session;
use crate::source::Source;

/// Copies the entries of the session's cache.
pub fn migrate(session: &mut Session, source: &Source, arguments: &Migrate) -> Result<Exit> {
    let target = source.target(&arguments.to_url, &arguments.to_config, &arguments.to_environment).config()?;
    check(&session.config)?;
    check(&target)?;
    let pattern = arguments.pattern.as_ref().map(|pattern| pattern_text(session, pattern)).transpose()?;
    let file = arguments.resume_file.clone();
    let checkpoint = file.map(|file| Checkpoint::new(file, &session.config, &target, pattern.as_deref()));
    let resume = checkpoint.as_ref().map_or(Ok(None), Checkpoint::read)?;
    let options = MigrationConfig { pattern, rate: arguments.rate, dry_run: arguments.dry_run, resume };
    let target = Cache::open(target)?;
    let copied = answer(|context| target.ready(context))
        .map_err(Failure::from)
        .and_then(|()| copy(session, &target, &options, checkpoint.as_ref()));
    let _ = answer(|context| target.close(context, Instant::now() + Duration::from_secs(1)));
    let report = copied?;
    session.output.say(|| written(&report), || report.clone())?;
    Ok(if report["failed"] == 0 { Exit::Done } else { Exit::Failed })
}

fn check(config: &Config) -> Result<()> {
    match config.store() {
        Some(_) => Ok(()),
        None => Err(Failure::Usage(
            "a cache in memory belongs to one process: migrate between Redis and Memcached servers".to_owned(),
        )),
    }
}

fn pattern_text(session: &Session, pattern: &std::ffi::OsString) -> Result<String> {
    let bytes = session.bytes(pattern)?.into_owned();
    String::from_utf8(bytes).map_err(|_| Failure::Usage("the pattern of a migration must be UTF-8".to_owned()))
}

fn copy(session: &Session, target: &Cache, options: &MigrationConfig, checkpoint: Option<&Checkpoint>) -> Result<Json> {
    // A file that cannot be written is reported before the work begins.
    checkpoint.map_or(Ok(()), |checkpoint| checkpoint.write(options.resume.as_deref()))?;
    let bar = bar(session, options);
    let (mut lost, mut kept) = (None, options.resume.clone());
    let mut on_progress = |at: &Progress| {
        show(&bar, at);
        // At the end there is no position. Until then, keys after the recorded one are copied again.
        if at.resume.is_some() && at.resume != kept {
            kept.clone_from(&at.resume);
            lost = checkpoint.and_then(|it| it.write(at.resume.as_deref()).err());
        }
        lost.is_none()
    };
    let report = wait(|context| session.cache.migrate(context, target, options, &mut on_progress));
    bar.finish_and_clear();
    if let Some(failure) = lost {
        return Err(failure);
    }
    let report = report?;
    checkpoint.map_or(Ok(()), Checkpoint::remove)?;
    Ok(report)
}

/// Returns a progress bar if the number of keys is known, else a spinner; hidden without a terminal.
fn bar(session: &Session, options: &MigrationConfig) -> ProgressBar {
    if session.output.is_json() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let all = options.pattern.is_none() && options.resume.is_none();
    let keys = if all { wait(|context| session.cache.usage(context)).ok().map(|usage| usage.keys) } else { None };
    let (bar, template) = match keys {
        Some(keys) => (ProgressBar::new(keys), "{bar:40} {percent:>3} %  {pos} of about {len} keys, {eta} left  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} keys in {elapsed}  {msg}"),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, at: &Progress) {
    if bar.length().is_some_and(|length| length < at.examined) {
        bar.set_length(at.examined);
    }
    bar.set_position(at.examined);
    bar.set_message(format!("{} copied, {} skipped, {} failed", at.copied, at.skipped, at.failed));
}

fn written(report: &Json) -> String {
    let copied = if report["dry_run"] == true { "would copy" } else { "copied" };
    let mut lines = vec![line("examined", &report["examined"]), line(copied, &report["copied"])];
    lines.extend(reasons("skipped", &report["skipped"]));
    lines.push(line("failed", &report["failed"]));
    lines.extend(reasons("failure", &report["failures"]));
    lines.push(line("seconds", &(report["elapsed_ms"].as_f64().unwrap_or_default() / 1000.0).into()));
    lines.join("\n")
}

/// Returns a line for each reason with its count.
fn reasons<'a>(name: &'a str, counts: &'a Json) -> impl Iterator<Item = String> + 'a {
    let counts = counts.as_object().into_iter().flatten();
    counts.map(move |(reason, count)| line(name, &format!("{count} ({reason})").into()))
}

/// Records the progress of a migration in a file: its source, its target and the position at which to continue.
struct Checkpoint {
    file: PathBuf,
    /// The identity of the migration: a file of another migration would make this one start in the middle.
    migration: Json,
}

impl Checkpoint {
    /// Creates the checkpoint of a migration. The file need not exist.
    fn new(file: PathBuf, from: &Config, to: &Config, pattern: Option<&str>) -> Self {
        Self { file, migration: json!({ "from": from.store(), "to": to.store(), "pattern": pattern }) }
    }

    /// Reads the position of an earlier run; `None` without one.
    fn read(&self) -> Result<Option<String>> {
        let text = match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            text => text.map_err(Failure::stream(&self.name()))?,
        };
        let kept: Json = serde_json::from_str(&text).unwrap_or_default();
        if kept["migration"] != self.migration {
            let name = self.name();
            return Err(Failure::Usage(format!(
                "{name} belongs to another migration: remove it, or give another --resume-file"
            )));
        }
        Ok(kept["resume"].as_str().map(str::to_owned))
    }

    /// Replaces the file by the position of this run; `None` for its beginning. The replacement is atomic.
    fn write(&self, token: Option<&str>) -> Result<()> {
        let next = self.file.with_added_extension("next");
        let text = json!({ "migration": self.migration, "resume": token }).to_string();
        let written = fs::write(&next, text).and_then(|()| fs::rename(next, &self.file));
        written.map_err(Failure::stream(&self.name()))
    }

    /// Removes the file at the end of the migration.
    fn remove(&self) -> Result<()> {
        fs::remove_file(&self.file).map_err(Failure::stream(&self.name()))
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }
}
