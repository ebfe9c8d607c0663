//! Limits the time of scoring. The clock is read after an amount of work, not for every key.

use std::time::Instant;

/// Number of cells of the grid of query × key between two readings of the clock: a few milliseconds at most.
const CELLS: usize = 1 << 22;
/// The cost of a key in addition to its cells, in cells.
const KEY: usize = 64;

/// The deadline passed before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTime;

/// The deadline of scoring. `None` is no limit.
pub(super) type Until = Option<Instant>;

/// Fails if the deadline has passed.
pub(super) fn check(until: Until) -> Result<(), OutOfTime> {
    if until.is_some_and(|until| Instant::now() >= until) { Err(OutOfTime) } else { Ok(()) }
}

/// The work since the last reading of the clock.
#[derive(Default)]
pub(super) struct Pace {
    cells: usize,
}

impl Pace {
    /// Counts the work of a key, and reads the clock after enough work.
    pub(super) fn spend(&mut self, query: &[u8], key: &[u8], until: Until) -> Result<(), OutOfTime> {
        self.cells = self.cells.saturating_add(query.len().saturating_mul(key.len())).saturating_add(KEY);
        if self.cells < CELLS {
            return Ok(());
        }
        self.cells = 0;
        check(until)
    }
}
