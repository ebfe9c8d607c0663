//! How many bytes of arguments a queue may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Enough for every operation of a busy program; a producer that outruns its server is told before memory is gone.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The bytes that are held now.
#[derive(Default)]
pub(super) struct Budget(AtomicUsize);

/// A part of the budget, given back when dropped.
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Room for so many bytes; any number when nothing else is held, so that nothing waits for ever.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let fits = |held: usize| (held == 0 || held.saturating_add(bytes) <= MAX_BYTES).then(|| held + bytes);
        self.0.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Share { budget: self.clone(), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_budget_waits_for_what_is_held() {
        let budget = Arc::<Budget>::default();
        let first = budget.take(MAX_BYTES - 10).unwrap();
        let second = budget.take(10).unwrap();
        assert!(budget.take(1).is_none());
        drop(first);
        assert!(budget.take(MAX_BYTES).is_none() && budget.take(1).is_some());
        drop(second);
        let alone = budget.take(MAX_BYTES * 2).unwrap();
        assert!(budget.take(1).is_none());
        drop(alone);
        assert_eq!(budget.0.load(Relaxed), 0);
    }
}
