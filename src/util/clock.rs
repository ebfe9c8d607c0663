//! Deadlines on the monotonic clock that are cheap to check.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The clocks of the system that are read here.
#[cfg(target_os = "linux")]
mod clocks {
    use super::ClockId;

    /// Counts from boot, also while the machine sleeps.
    pub const BOOT: ClockId = ClockId::Boottime;
    /// Accurate to a tick of the kernel, and cheaper than the exact ones.
    pub const COARSE: ClockId = ClockId::MonotonicCoarse;
    pub const COARSE_WALL: ClockId = ClockId::RealtimeCoarse;
}

/// The monotonic clock of macOS counts while the machine sleeps, and no clock is coarse.
#[cfg(not(target_os = "linux"))]
mod clocks {
    use super::ClockId;

    pub const BOOT: ClockId = ClockId::Monotonic;
    pub const COARSE: ClockId = ClockId::Monotonic;
    pub const COARSE_WALL: ClockId = ClockId::Realtime;
}

/// The longest time that is represented: 100 years.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The shortest life of an entry that expires, and the shortest remaining time while it is served. Less would become 0
/// in milliseconds, which a set interprets as "never".
pub const SHORTEST: Duration = Duration::from_millis(1);

/// Returns the remaining time of an entry that expires and is still served.
#[inline]
pub fn left(time: Duration) -> Duration {
    time.max(SHORTEST)
}

/// Returns the remaining time of such an entry in milliseconds, rounded up, at least 1.
pub fn left_millis(time: Duration) -> u64 {
    u64::try_from(left(time).as_nanos().div_ceil(SHORTEST.as_nanos())).unwrap_or(u64::MAX)
}

/// Returns the end of an entry with a remaining time. A time above the maximum is cut, so that it does not become
/// "never".
pub fn ends(left: Option<Duration>) -> Option<Instant> {
    left.map(|left| Instant::now() + left.min(LONGEST))
}

/// The largest lag of the coarse clock behind the exact one. It advances with the kernel's tick (1-10 ms); the rest
/// allows for a machine that stalls.
const COARSE_LAG: u64 = 100_000_000;

/// A change of the wall clock above this is a jump; a smaller one is a correction.
const JUMP: i64 = 1000;

/// The offset of the wall clock from the clock that counts from boot, in ms, without the jumps since then.
static AHEAD: AtomicI64 = AtomicI64::new(i64::MIN);

/// Returns the milliseconds since 1970. Small corrections of the wall clock count; a jump of it has no effect in this
/// process.
pub fn unix_millis() -> u64 {
    let (wall, boot) = wall_and_boot();
    steady(wall, boot, &AHEAD)
}

/// Reads both clocks at the same moment. A thread that loses its processor in between reads them again.
fn wall_and_boot() -> (i64, i64) {
    let boot = || millis_of(clock_gettime(clocks::BOOT));
    for _ in 0..3 {
        let (before, wall, after) = (boot(), unix_wall(), boot());
        if after - before <= 1 {
            return (wall, before);
        }
    }
    (unix_wall(), boot())
}

/// Returns the milliseconds since 1970 by the wall clock, jumps of it included.
pub fn wall_millis() -> u64 {
    u64::try_from(unix_wall()).unwrap_or_default()
}

/// Returns the seconds since 1970 by the wall clock, at least to a tick of the kernel: never ahead of it.
pub fn coarse_wall_seconds() -> u64 {
    u64::try_from(clock_gettime(clocks::COARSE_WALL).tv_sec).unwrap_or_default()
}

fn unix_wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 2)
}

fn millis_of(time: rustix::time::Timespec) -> i64 {
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

#[allow(clippy::cast_sign_loss)] // No clock reads a time before 1970.
fn steady(wall: i64, boot: i64, ahead: &AtomicI64) -> u64 {
    let known = ahead.load(Relaxed);
    if known == i64::MIN || (wall - boot - known).abs() <= JUMP {
        ahead.store(wall - boot, Relaxed);
        return wall.max(0) as u64;
    }
    (boot + known).max(0) as u64
}

/// The times of an entry in memory.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The end of the entry.
    pub deadline: Deadline,
    /// The time of its set.
    pub created: Created,
}

impl Times {
    /// Returns the times of an entry that is stored now. `None` never expires: no clock is read for it, and the time of its
    /// set is not known.
    #[inline(always)]
    pub fn from_now(ttl: Option<Duration>) -> Self {
        let Some(ttl) = ttl else { return Self { deadline: Deadline::NEVER, created: Created::UNKNOWN } };
        let now = now();
        Self { deadline: Deadline::of(now, ttl), created: Created::at(now) }
    }
}

/// The time at which an entry was stored, in units of about a second of the monotonic clock. It has 24 bits, so that it
/// needs no room of its own in a slot: they count 208 days, and then begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created(u32);

impl Created {
    /// The number of bits of a time.
    pub const BITS: u32 = 24;
    const MASK: u64 = (1 << Self::BITS) - 1;
    /// A unit is so many bits of nanoseconds: 1.07 s.
    const UNIT: u32 = 30;
    /// The time of an entry for whose set no clock was read.
    pub const UNKNOWN: Self = Self(0);

    #[inline]
    fn at(nanos: u64) -> Self {
        let Self(unit) = Self::from_bits(nanos >> Self::UNIT);
        // The unit 0 counts as the one before it.
        Self(if unit == 0 { u32::MAX >> (32 - Self::BITS) } else { unit })
    }

    /// Returns the time in the low bits of a number.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // Fewer bits than 32.
    pub fn from_bits(bits: u64) -> Self {
        Self((bits & Self::MASK) as u32)
    }

    /// Returns the time as the low bits of a number.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0.into()
    }

    /// Returns the time of an entry of this age.
    pub fn before(age: Duration) -> Self {
        // The age may be longer than the time of the clock: the low bits, which are kept, are right all the same.
        Self::at(now().wrapping_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the age of the entry, if it is known: never too short, and one or two units too long at most.
    pub fn age(self) -> Option<Duration> {
        (self != Self::UNKNOWN).then(|| self.age_at(now()))
    }

    fn age_at(self, nanos: u64) -> Duration {
        let units = (nanos >> Self::UNIT).wrapping_sub(self.bits()) & Self::MASK;
        Duration::from_nanos((units << Self::UNIT) + (nanos & ((1 << Self::UNIT) - 1)))
    }
}

/// The end of an entry, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(u64);

/// A reading of the clock, for many deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Reads the exact clock.
    pub fn now() -> Self {
        Self(now())
    }

    /// Returns the deadline after a time from this moment on.
    pub fn later(self, time: Duration) -> Deadline {
        Deadline::of(self.0, time)
    }
}

impl Deadline {
    /// The deadline of an entry that never expires.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the deadline after a time. `None` never expires.
    pub fn after(ttl: Option<Duration>) -> Self {
        ttl.map_or(Self::NEVER, |ttl| Self::of(now(), ttl))
    }

    #[inline]
    fn of(now: u64, ttl: Duration) -> Self {
        let nanos = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        Self(now.saturating_add(nanos).min(Self::NEVER.0 - 1))
    }

    /// Returns the deadline as a number.
    #[inline]
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// Returns the deadline of a number.
    #[inline]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The deadline of an entry that has expired from the start.
    pub const PASSED: Self = Self(0);

    /// Returns the deadline that is later by a time.
    pub fn later(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if self == Self::NEVER { self } else { Self(self.0.saturating_add(nanos).min(Self::NEVER.0 - 1)) }
    }

    /// Returns true if the deadline has passed.
    #[inline]
    pub fn has_passed(self) -> bool {
        self != Self::NEVER && self.is_behind()
    }

    /// Returns true if the deadline had passed at that moment.
    #[inline]
    pub fn has_passed_at(self, moment: Moment) -> bool {
        self != Self::NEVER && self.0 <= moment.0
    }

    /// Reads the coarse clock, which is never ahead. The exact clock is read only near the deadline.
    fn is_behind(self) -> bool {
        self.0 <= read(clocks::COARSE).saturating_add(COARSE_LAG) && self.0 <= now()
    }

    /// Returns the time that is left until the end: `None` if it never comes, else at least a millisecond, even if it
    /// comes during the call.
    pub fn remaining(self) -> Option<Duration> {
        (self != Self::NEVER).then(|| left(Duration::from_nanos(self.0.saturating_sub(now()))))
    }
}

/// Returns milliseconds of the coarse monotonic clock, which is cheap and accurate to a tick of the kernel.
pub fn coarse_millis() -> u64 {
    read(clocks::COARSE) / 1_000_000
}

fn now() -> u64 {
    read(ClockId::Monotonic)
}

#[inline]
#[allow(clippy::cast_sign_loss)] // The monotonic clock counts from boot.
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_when_its_time_is_over_and_not_before() {
        let deadline = Deadline::after(Some(Duration::from_millis(30)));
        assert!(!deadline.has_passed());
        std::thread::sleep(Duration::from_millis(25));
        assert!(deadline.remaining().unwrap() <= Duration::from_millis(5));
        std::thread::sleep(Duration::from_millis(6));
        assert!(deadline.has_passed());
        assert_eq!(deadline.remaining(), Some(SHORTEST), "never 0, which a set takes for never");
    }

    #[test]
    fn an_age_counts_from_the_unit_of_the_set_for_208_days() {
        const UNIT: u64 = 1 << Created::UNIT;
        for created in [0, 1, UNIT - 1, UNIT, 7 * UNIT + 5, (1 << 24) * UNIT - 1, (1 << 32) * UNIT - 1] {
            for age in [0, 1, UNIT - 1, UNIT, 3 * UNIT / 2, 100 * 86_400_000_000_000] {
                let known = Created::at(created).age_at(created + age).as_nanos() as u64;
                let longest = if (created / UNIT).is_multiple_of(1 << Created::BITS) { 2 * UNIT } else { UNIT };
                assert!((age..age + longest).contains(&known), "{created} {age}");
            }
        }
        assert!(Created::before(Duration::from_secs(5)).age() >= Some(Duration::from_secs(5)));
        // Longer than this machine has run.
        let old = Duration::from_secs(150 * 24 * 3600);
        assert!(Created::before(old).age().is_some_and(|age| age >= old && age < old + Duration::from_secs(10)));
        assert_eq!(Times::from_now(None).created.age(), None);
    }

    #[test]
    fn a_jump_of_the_wall_clock_changes_nothing_and_a_correction_counts() {
        let ahead = AtomicI64::new(i64::MIN);
        assert_eq!(steady(1_000_000, 5000, &ahead), 1_000_000);
        assert_eq!(steady(1_000_700, 5100, &ahead), 1_000_700);
        for jump in [-900_000, 7_200_000] {
            assert_eq!(steady(1_000_700 + jump, 5200, &ahead), 1_000_800);
            assert_eq!(steady(1_001_700 + jump, 6200, &ahead), 1_001_800);
        }
        assert_eq!(steady(1_001_850, 6300, &ahead), 1_001_850);
        assert!(unix_millis().abs_diff(unix_wall() as u64) <= 2000);
    }

    #[test]
    fn what_never_expires_has_nothing_left_to_count() {
        assert!(!Deadline::after(None).has_passed());
        assert_eq!(Deadline::after(None).remaining(), None);
        assert!(!Deadline::after(Some(Duration::MAX)).has_passed());
        assert!(Deadline::after(Some(Duration::MAX)).remaining().is_some(), "far off, and not never");
    }

    #[test]
    fn what_is_left_of_an_entry_that_ends_is_never_zero_milliseconds() {
        for (nanos, millis) in
            [(0, 1), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (u64::MAX, 18_446_744_073_710)]
        {
            assert_eq!(left_millis(Duration::from_nanos(nanos)), millis, "{nanos} ns");
        }
        assert_eq!(left_millis(Duration::MAX), u64::MAX);
        assert_eq!(left(Duration::ZERO), SHORTEST);
    }

    #[test]
    fn a_time_that_no_entry_has_does_not_become_never() {
        assert!(ends(Some(Duration::MAX)).unwrap() > Instant::now() + LONGEST - Duration::from_secs(1));
        assert_eq!(ends(None), None);
    }
}
