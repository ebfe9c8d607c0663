//! Copies one cache into another, with a progress bar and a checkpoint for a run that is interrupted.

use std::ffi::OsString;
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
use crate::bytes;
use crate::failure::{Exit, Failure, Result, without_credentials};
use crate::human;
use crate::interrupt::Interrupt;
use crate::output::remark;
use crate::session::Session;
use crate::source::Source;

/// Copies the entries of the session's cache.
pub fn migrate(session: &mut Session, source: &Source, arguments: &Migrate) -> Result<Exit> {
    let target = source.target(&arguments.to_url, &arguments.to_config, &arguments.to_environment).config()?;
    check(&session.config)?;
    check(&target)?;
    let pattern = arguments.pattern.as_ref().map(|pattern| pattern_text(session, pattern)).transpose()?;
    let migration = json!({ "from": session.config.store(), "to": target.store(), "pattern": pattern });
    let mut at = Position { migration: identity(&migration), token: None, examined: 0 };
    let file = arguments.resume_file.clone();
    let checkpoint = file.map(|file| Checkpoint { file, migration });
    match (&checkpoint, &arguments.resume) {
        (Some(checkpoint), _) => checkpoint.read(&mut at)?,
        (_, Some(text)) => at.read(text)?,
        _ => {}
    }
    let options =
        MigrationConfig { pattern, rate: arguments.rate, dry_run: arguments.dry_run, resume: at.token.clone() };
    let interrupt = Interrupt::notice(|| {})?;
    let target = Cache::open(target)?;
    let copied = answer(|context| target.ready(context))
        .map_err(Failure::from)
        .and_then(|()| copy(session, &target, &options, checkpoint.as_ref(), &mut at, &interrupt));
    let _ = answer(|context| target.close(context, Instant::now() + Duration::from_secs(1)));
    let mut report = copied?;
    let is_interrupted = report["complete"] == false;
    report["interrupted"] = is_interrupted.into();
    if is_interrupted {
        report["left"] = left(session, &options, at.examined).into();
        report["resume_command"] = command(&at, &options, checkpoint.is_some()).into();
    }
    session.output.say(|| written(&report), || report.clone())?;
    if is_interrupted {
        let command = report["resume_command"].as_str().unwrap_or_default();
        remark(session.output.is_json(), &format!("interrupted; to continue, run:\n  {command}"));
        return Ok(Exit::Interrupted);
    }
    Ok(if report["failed"] == 0 { Exit::Done } else { Exit::Failed })
}

/// Returns the approximate number of keys that were not examined; `None` if it is unknown.
fn left(session: &Session, options: &MigrationConfig, examined: u64) -> Option<u64> {
    let usage = match options.pattern {
        None => wait(|context| session.cache.usage(context)).ok(),
        Some(_) => None,
    };
    usage.map(|usage| usage.keys.saturating_sub(examined))
}

/// Returns the command line that continues: the same, with the position if no file has it. A dry run starts again.
fn command(at: &Position, options: &MigrationConfig, has_file: bool) -> String {
    let (mut words, mut arguments) = (Vec::new(), std::env::args_os());
    while let Some(argument) = arguments.next() {
        if argument == "--resume" {
            arguments.next();
        } else if !argument.as_encoded_bytes().starts_with(b"--resume=") {
            words.push(argument);
        }
    }
    if let (false, false, Some(position)) = (has_file, options.dry_run, at.to_text()) {
        words.extend(["--resume".into(), position.into()]);
    }
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Returns an argument as a shell reads it, without a password.
fn quoted(argument: &OsString) -> String {
    let bytes = argument.as_encoded_bytes();
    if std::str::from_utf8(bytes).is_err() || !bytes::is_plain_text(bytes) {
        // The shells that have completion read this form: octal digits stand for the bytes.
        let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
        return format!("$'{octal}'");
    }
    let text = without_credentials(&String::from_utf8_lossy(bytes));
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns a short name of a migration, so that a position of another one is refused.
fn identity(migration: &Json) -> String {
    format!("{:016x}", twox_hash::XxHash3_64::oneshot(migration.to_string().as_bytes()))
}

/// The position that a run reached.
struct Position {
    migration: String,
    token: Option<String>,
    /// The number of keys that were examined up to here, by all runs.
    examined: u64,
}

impl Position {
    /// Returns its text, the value of `--resume`; `None` at the beginning.
    fn to_text(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("{}-{}-{token}", self.migration, self.examined))
    }

    fn read(&mut self, text: &str) -> Result<()> {
        let refused = |why: &str| Failure::Usage(format!("--resume {text}: {why}"));
        let parts: Vec<&str> = text.splitn(3, '-').collect();
        let [migration, examined, token] = parts[..] else {
            return Err(refused("not a position that an interrupted migration printed"));
        };
        if migration != self.migration {
            return Err(refused("a position of another migration: give its source, target and pattern"));
        }
        self.examined =
            examined.parse().map_err(|_| refused("not a position that an interrupted migration printed"))?;
        self.token = Some(token.to_owned());
        Ok(())
    }
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

/// Copies until the end, a failure or a signal. Then `position` is the place to continue from.
fn copy(
    session: &Session,
    target: &Cache,
    options: &MigrationConfig,
    checkpoint: Option<&Checkpoint>,
    position: &mut Position,
    interrupt: &Interrupt,
) -> Result<Json> {
    // A file that cannot be written is reported before the work begins.
    checkpoint.map_or(Ok(()), |checkpoint| checkpoint.write(position))?;
    let bar = bar(session, options);
    let (mut lost, before) = (None, position.examined);
    let mut last = Progress::default();
    let mut on_progress = |at: &Progress| {
        show(&bar, at);
        // At the end there is no position. Until then, keys after the recorded one are copied again.
        if at.resume.is_some() && at.resume != position.token {
            position.token.clone_from(&at.resume);
            position.examined = before + last.examined;
            lost = checkpoint.and_then(|it| it.write(position).err());
        }
        last.clone_from(at);
        lost.is_none() && !interrupt.is_wanted()
    };
    let report = wait(|context| session.cache.migrate(context, target, options, &mut on_progress));
    bar.finish_and_clear();
    if let Some(failure) = lost {
        return Err(failure);
    }
    let report = report.inspect_err(|_| {
        let Progress { copied, skipped, failed, .. } = last;
        remark(
            session.output.is_json(),
            &format!(
                "stopped: {copied} copied, {skipped} skipped, {failed} failed; to continue, run:\n  {}",
                command(position, options, checkpoint.is_some())
            ),
        );
    })?;
    if report["complete"] == true {
        checkpoint.map_or(Ok(()), Checkpoint::remove)?;
    }
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
    if report["interrupted"] == true {
        lines.push(line(
            "left",
            &report["left"].as_u64().map_or("unknown".to_owned(), |it| format!("about {it}")).into(),
        ));
    }
    let (_, elapsed) = human::field("elapsed_ms", &report["elapsed_ms"]);
    lines.push(line("time", &elapsed));
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
    /// Reads the position of an earlier run, if there is one.
    fn read(&self, at: &mut Position) -> Result<()> {
        let text = match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == Io::NotFound => return Ok(()),
            text => text.map_err(Failure::stream(&self.name()))?,
        };
        let kept: Json = serde_json::from_str(&text).unwrap_or_default();
        if kept["migration"] != self.migration {
            let name = self.name();
            return Err(Failure::Usage(format!(
                "{name} belongs to another migration: remove it, or give another --resume-file"
            )));
        }
        at.token = kept["resume"].as_str().map(str::to_owned);
        at.examined = kept["examined"].as_u64().unwrap_or_default();
        Ok(())
    }

    /// Replaces the file by the position of this run. The replacement is atomic.
    fn write(&self, at: &Position) -> Result<()> {
        let next = self.file.with_added_extension("next");
        let text = json!({ "migration": self.migration, "resume": at.token, "examined": at.examined }).to_string();
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
