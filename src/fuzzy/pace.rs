//! The time that scoring may take: the clock is read after an amount of work, not for every key.

use std::time::Instant;

/// The cells of the grid of query × key that pass between two looks at the clock: a few milliseconds at most.
const CELLS: usize = 1 << 22;
/// The cost of a key in addition to its cells.
const KEY: usize = 64;

/// The time is over before the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTime;

/// When scoring has to end; `None` never.
pub(super) type Until = Option<Instant>;

/// Fails when the time is over.
pub(super) fn check(until: Until) -> Result<(), OutOfTime> {
    if until.is_some_and(|until| Instant::now() >= until) { Err(OutOfTime) } else { Ok(()) }
}

/// The work since the last look at the clock.
#[derive(Default)]
pub(super) struct Pace {
    cells: usize,
}

impl Pace {
    /// Counts the work of a key, and reads the clock once that was enough.
    pub(super) fn spend(&mut self, query: &[u8], key: &[u8], until: Until) -> Result<(), OutOfTime> {
        self.cells = self.cells.saturating_add(query.len().saturating_mul(key.len())).saturating_add(KEY);
        if self.cells < CELLS {
            return Ok(());
        }
        self.cells = 0;
        check(until)
    }
}
