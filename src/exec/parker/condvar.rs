//! A parking place of every system: a flag under a lock, and a condition variable.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub struct Place {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Place {
    pub fn park(&self, deadline: Option<Instant>) {
        let mut woken = self.lock();
        if !*woken {
            woken = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(left) => self.changed.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(woken).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *woken = false;
    }

    pub fn wake(&self) {
        *self.lock() = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
