//! The clock of a server: the common clock of all processes that use it, however their own clocks are set.
//!
//! An entry carries its deadline in the time of its server. A server reports
//! its time in whole seconds, from clocks that it rounds when it starts and
//! reads once a second: the true time is up to a second before what it
//! reports, or up to three seconds after. While the own clock of a process
//! fits that, the process uses its own clock as it is: processes whose clocks
//! agree, agree to the millisecond. A process whose clock contradicts the
//! server uses the middle of that time, which is right within two seconds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::entry;
use crate::util::clock::unix_millis;
use crate::util::lock;

/// The true time is later than the reported time plus this, in ms.
const EARLIEST: i64 = -1000;
/// The true time is earlier than the reported time plus this, in ms. Half a second of it is for a server that reads its
/// clock late.
const LATEST: i64 = 3500;
/// The middle, without the half second.
const MIDDLE: i64 = 1000;
/// A server's report of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its time, in ms since 1970.
    time: i64,
    /// The server's process: another process has another clock.
    process: u64,
    /// The times of the request and of the reply by this process's own clock.
    asked: i64,
    answered: i64,
}

/// The offset of a server's clock from this process's own clock.
#[derive(Default)]
pub struct ServerClock {
    /// In ms; 0 while they agree.
    ahead: AtomicI64,
    /// The process of the server that was asked last.
    process: AtomicU64,
    /// The offset by the last report, while that report is not confirmed.
    doubt: Mutex<Option<i64>>,
}

impl Reading {
    /// Reads general statistics that were asked for at that time; `None` if they have no time.
    pub fn of(statistics: &[(String, String)], asked: u64) -> Option<Self> {
        let number = |name| statistics.iter().find(|pair| pair.0 == name).and_then(|pair| pair.1.parse::<i64>().ok());
        let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX / 2);
        let time = number("time").filter(|time| (1..1 << 40).contains(time))? * 1000;
        // In containers every server is process 1: what tells them apart is when they started.
        let started = time / 1000 - number("uptime").unwrap_or(0);
        let process = entry::fingerprint(format!("{started} {}", number("pid").unwrap_or(0)).as_bytes());
        Some(Self { time, process, asked: signed(asked), answered: signed(unix_millis()) })
    }

    /// Returns whether the report fits a server whose clock is `ahead` ms ahead of this process's clock.
    fn allows(&self, ahead: i64) -> bool {
        self.answered + ahead > self.time + EARLIEST && self.asked + ahead < self.time + LATEST
    }

    /// Returns how many ms the server's clock is ahead; 0 if the report fits this process's own clock.
    fn ahead(&self) -> i64 {
        if self.allows(0) { 0 } else { self.time + MIDDLE - i64::midpoint(self.asked, self.answered) }
    }
}

impl ServerClock {
    /// Returns the present time by the server's clock, in ms since 1970.
    #[allow(clippy::cast_sign_loss)] // It is positive.
    pub fn now_ms(&self) -> u64 {
        let own = i64::try_from(unix_millis()).unwrap_or(i64::MAX / 2);
        own.saturating_add(self.ahead.load(Relaxed)).max(0) as u64
    }

    /// Learns from a report. A server that was asked before has to repeat what contradicts it: it may have been held
    /// up, and have read its clock long ago.
    pub fn learn(&self, reading: &Reading) {
        let mut doubt = lock(&self.doubt);
        let is_new = self.process.swap(reading.process, Relaxed) != reading.process;
        if reading.allows(self.ahead.load(Relaxed)) {
            *doubt = None;
        } else if is_new || doubt.is_some_and(|ahead| reading.allows(ahead)) {
            *doubt = None;
            self.ahead.store(reading.ahead(), Relaxed);
        } else {
            *doubt = Some(reading.ahead());
        }
    }

    /// Returns whether the last report has to be confirmed.
    pub fn is_in_doubt(&self) -> bool {
        lock(&self.doubt).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// A server that reports `time` while the own clock reads `own`.
    fn reading(time: i64, own: i64, process: u64) -> Reading {
        Reading { time, process, asked: own, answered: own + 5 }
    }

    #[test]
    fn clocks_that_may_agree_are_left_alone() {
        let clock = ServerClock::default();
        for own in [-990, 0, 1500, 3400] {
            clock.learn(&reading(10 * HOUR, 10 * HOUR + own, 1));
            assert_eq!(clock.ahead.load(Relaxed), 0);
        }
    }

    #[test]
    fn a_clock_that_is_hours_off_is_corrected_at_once_and_then_stays() {
        let clock = ServerClock::default();
        clock.learn(&reading(10 * HOUR, 8 * HOUR, 1));
        let ahead = clock.ahead.load(Relaxed);
        assert!(ahead.abs_diff(2 * HOUR) <= 1000, "{ahead}");
        for later in [1900, 2000, 3500] {
            clock.learn(&reading(10 * HOUR + later / 1000 * 1000, 8 * HOUR + later, 1));
            assert_eq!(clock.ahead.load(Relaxed), ahead);
        }
    }

    #[test]
    fn a_report_that_contradicts_an_earlier_one_is_confirmed_first() {
        let clock = ServerClock::default();
        clock.learn(&reading(10 * HOUR, 10 * HOUR, 1));
        // Held up for ten seconds: its clock is behind, once.
        clock.learn(&reading(10 * HOUR, 10 * HOUR + 10_000, 1));
        assert!(clock.ahead.load(Relaxed) == 0 && clock.is_in_doubt());
        clock.learn(&reading(10 * HOUR + 12_000, 10 * HOUR + 12_000, 1));
        assert!(clock.ahead.load(Relaxed) == 0 && !clock.is_in_doubt());
        // Twice the same: it is so.
        clock.learn(&reading(11 * HOUR, 10 * HOUR + 20_000, 1));
        clock.learn(&reading(11 * HOUR + 2000, 10 * HOUR + 22_000, 1));
        assert!(clock.ahead.load(Relaxed).abs_diff(HOUR) < 30_000 && !clock.is_in_doubt());
        // And back, exactly.
        clock.learn(&reading(10 * HOUR + 30_000, 10 * HOUR + 30_000, 2));
        assert_eq!(clock.ahead.load(Relaxed), 0);
    }

    #[test]
    fn statistics_report_the_time() {
        let pairs = |time: &str, uptime: &str| {
            [("pid", "1"), ("uptime", uptime), ("time", time)].map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        let of = |time, uptime| Reading::of(&pairs(time, uptime), 5).unwrap();
        let reading = of("1700000000", "20");
        assert_eq!((reading.time, reading.asked), (1_700_000_000_000, 5));
        assert_eq!(reading.process, of("1700000100", "120").process);
        assert_ne!(reading.process, of("1700000100", "10").process);
        assert!(["", "-1", "x", "99999999999999"].iter().all(|time| Reading::of(&pairs(time, "1"), 5).is_none()));
        assert!(Reading::of(&[], 5).is_none());
    }
}
