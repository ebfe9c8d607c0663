//! Entries whose names outlive their time to live, on a store that knows how long a name lasts: the value may be served
//! as stale, or the name lasts longer for a load.
//!
//! The time that is left needs a request of its own. Other callers may set the name in between, and the time would be
//! that of their entry: a value that is over would pass for a fresh one. The store therefore returns the time together
//! with a part of the bytes, and an entry that has changed is read again.

use std::time::Duration;

use super::entries::Found;
use super::{Remote, Store, StoredPart, TimeLeft};
use crate::error::Result;
use crate::exec::context::CallContext;

/// A name whose store keeps it longer than the time to live of its entry.
pub(super) struct Outlives {
    /// The header of the entry: another one after each set, and whenever the name gets another time.
    pub part: StoredPart,
    pub stale_for: Duration,
}

/// The state of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh,
    /// Its time to live is over.
    Over,
    /// Other bytes are stored: it was set, removed or loaded after it was read.
    Changed,
}

/// An entry that was read.
pub(super) enum Checked<T> {
    Live(T),
    /// A get is a miss.
    Dead,
    /// It has to be read again.
    Changed,
}

impl<S: Store> Remote<S> {
    /// Returns the state of an entry that its name outlives.
    pub(super) async fn freshness(&self, context: CallContext, outlives: &Outlives) -> Result<Freshness> {
        let left = self.store.time_left(context, std::slice::from_ref(&outlives.part)).await;
        Ok(freshness_of(super::only(left)?, outlives.stale_for))
    }

    /// Turns the entries into misses whose time to live is over, though their names have more. Returns the places of those
    /// that have to be read again.
    pub(super) async fn drop_stale<T>(
        &self,
        context: CallContext,
        found: &mut [Result<Option<Found<T>>>],
    ) -> Vec<usize> {
        let (mut at, mut stale_for, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for (place, found) in found.iter_mut().enumerate() {
            let Ok(Some(found)) = found else { continue };
            let Some(outlives) = found.outlives.take() else { continue };
            at.push(place);
            stale_for.push(outlives.stale_for);
            parts.push(outlives.part);
        }
        let mut changed = Vec::new();
        if at.is_empty() {
            return changed;
        }
        let left = self.store.time_left(context, &parts).await;
        for ((at, stale_for), left) in at.into_iter().zip(stale_for).zip(left) {
            match left.map(|left| freshness_of(left, stale_for)) {
                Ok(Freshness::Fresh) => {}
                Ok(Freshness::Over) => found[at] = Ok(None),
                Ok(Freshness::Changed) => changed.push(at),
                Err(error) => found[at] = Err(error),
            }
        }
        changed
    }
}

fn freshness_of(left: TimeLeft, stale_for: Duration) -> Freshness {
    match left {
        TimeLeft::Changed => Freshness::Changed,
        TimeLeft::Left(left) if fresh_of(left, stale_for).is_some() => Freshness::Fresh,
        TimeLeft::Left(_) | TimeLeft::Gone => Freshness::Over,
    }
}

/// Returns the time to live that is left of a name that outlives it; `None` if it is over.
pub(super) fn fresh_of(left: Option<Duration>, stale_for: Duration) -> Option<Option<Duration>> {
    match left {
        None => Some(None),
        Some(left) => left.checked_sub(stale_for).filter(|left| !left.is_zero()).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_fresh_while_its_bytes_are_there_and_its_name_has_more_than_the_stale_time() {
        let (millis, stale) = (Duration::from_millis, Duration::from_millis(50));
        assert_eq!(freshness_of(TimeLeft::Left(Some(millis(51))), stale), Freshness::Fresh);
        assert_eq!(freshness_of(TimeLeft::Left(None), stale), Freshness::Fresh);
        assert_eq!(freshness_of(TimeLeft::Left(Some(millis(50))), stale), Freshness::Over);
        assert_eq!(freshness_of(TimeLeft::Gone, stale), Freshness::Over);
        assert_eq!(freshness_of(TimeLeft::Changed, stale), Freshness::Changed);
    }
}
