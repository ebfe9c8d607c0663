//! Notices SIGINT and SIGTERM, so that a command stops with a report. A second signal ends the tool at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Exit, Failure, Result};

/// The time between two looks at the flag by a thread that sleeps.
const LOOK: Duration = Duration::from_millis(50);

/// The wish of the user to stop.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Notices signals from now on. `restore` runs before a second signal ends the tool.
    pub fn notice(restore: impl Fn() + Send + 'static) -> Result<Self> {
        let interrupt = Self(Arc::default());
        let (flag, unusable) = (interrupt.0.clone(), |error: io::Error| Failure::Stream("signals".to_owned(), error));
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(unusable)?;
        let watch = move || {
            for _ in signals.forever() {
                if flag.swap(true, SeqCst) {
                    restore();
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        };
        thread::Builder::new().spawn(watch).map_err(unusable)?;
        Ok(interrupt)
    }

    /// Returns true after a signal.
    pub fn is_wanted(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// Sleeps until a time, or until a signal arrives.
    pub fn sleep_until(&self, end: Instant) {
        while !self.is_wanted() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(LOOK));
        }
    }
}
