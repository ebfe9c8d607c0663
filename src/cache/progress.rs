//! The progress of a migration: its counts, its report and the position at which it can be resumed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::backend::{Epoch, ScanCursor};
use crate::error::{Error, ErrorKind, Result};
use crate::util::millis;

/// The number of kinds of failures in a report.
const KINDS: usize = 10;

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

/// The report of a migration, while it runs and at its end.
#[derive(Default)]
pub(super) struct Report {
    pub progress: Progress,
    skipped: BTreeMap<&'static str, u64>,
    failures: BTreeMap<String, u64>,
    /// Largest change of an expiry among the entries that were examined for it.
    pub drift: Option<Duration>,
}

impl Report {
    /// Counts an entry that is skipped for a reason.
    pub(super) fn skip(&mut self, reason: &'static str) {
        self.progress.skipped += 1;
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// Counts an entry that could not be copied. Failures of the first kinds are reported with their messages.
    pub(super) fn fail(&mut self, error: &Error) {
        self.progress.failed += 1;
        if self.failures.len() < KINDS || self.failures.contains_key(error.message()) {
            *self.failures.entry(error.message().to_owned()).or_default() += 1;
        }
    }

    /// Returns the report as JSON.
    pub(super) fn to_json(&self, elapsed: Duration, dry_run: bool) -> Json {
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

/// Returns the text form of a position.
pub(super) fn token(at: ScanCursor) -> String {
    let Epoch { process, layout, pages, restarts, repeated } = at.epoch;
    if at.epoch == Epoch::default() {
        return format!("{}.{}", at.part, at.offset);
    }
    format!("{}.{}.{process}.{layout}.{pages}.{restarts}.{}", at.part, at.offset, u8::from(repeated))
}

/// Returns the position that a text stands for.
pub(super) fn position(token: &str) -> Result<ScanCursor> {
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
