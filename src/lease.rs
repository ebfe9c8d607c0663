//! Leases: the right to load one key, as plain data of the backend that gave it.
//!
//! A caller that finds no value to serve gets a lease, loads the value and fills it in. The backend stores the fill only
//! while the lease is valid: a value whose load began before a set, a delete or an invalidation is not stored.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use once_cell::race::OnceBox;

use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::fork;
use crate::tag_names::TagNames;
use crate::util::{lock, random};
use crate::value::Value;

/// The shortest and the longest time of a lease, a wait or a pause after a failed load: a day.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The time that a caller waits while another one loads the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It does not wait.
    No,
    /// It waits until the deadline of a call.
    Call,
    /// It waits no longer than this, and no longer than its own deadline.
    AtMost(Duration),
}

impl Wait {
    /// Returns the end of a wait that begins now. `call` is the time of a call, `deadline` that of the caller.
    pub fn end(self, call: Duration, deadline: Option<Instant>) -> Instant {
        let limit = match self {
            Self::No => Duration::ZERO,
            Self::Call => call,
            Self::AtMost(limit) => limit,
        };
        let end = Instant::now() + limit;
        deadline.map_or(end, |deadline| deadline.min(end))
    }
}

/// The conditions under which a caller loads a key.
#[derive(Debug, Clone, Copy)]
pub struct LeaseOptions<'a> {
    /// The time for which the lease is valid if its holder does nothing.
    pub lease: Duration,
    /// The time to wait for the load of another holder.
    pub wait: Wait,
    /// The tags of the value, as far as they are known before the load.
    pub tags: &'a [&'a [u8]],
    /// True if one caller refreshes a value shortly before it expires.
    pub refresh_ahead: bool,
    /// The place for the leases that servers are asked for.
    pub in_doubt: Option<&'a InDoubt>,
}

impl LeaseOptions<'_> {
    /// Notes a lease that a server is asked for.
    pub fn asked_for(&self, lease: &LeaseData) {
        if let Some(in_doubt) = self.in_doubt {
            in_doubt.add(lease);
        }
    }

    /// Notes that a server did not give a lease.
    pub fn not_given(&self, lease: &LeaseData) {
        if let Some(in_doubt) = self.in_doubt {
            in_doubt.remove(lease);
        }
    }
}

/// The state of a key that was read for loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// The value is fresh. A lease means that it is due for an early refresh.
    Fresh,
    /// The value is past its time to live. A lease means that the caller refreshes it.
    Stale,
    /// An earlier load found nothing.
    Absent,
    /// There is no value: the caller has the lease and loads it.
    Vacant,
}

/// The outcome of a read for loading.
pub struct Loaded {
    /// The value of a fresh or stale key.
    pub value: Option<Value>,
    /// The state of the key.
    pub state: LoadState,
    /// The lease, if the caller has to load the value.
    pub lease: Option<Arc<Lease>>,
    /// True if the caller waited for the load of another.
    pub waited: bool,
    /// True if the lease follows one whose holder did nothing until its end.
    pub took_over: bool,
}

/// Outcomes are moved from function to function: a larger one would slow down every operation.
const _: () = assert!(size_of::<Loaded>() <= 24);

impl Loaded {
    /// Returns an outcome without a lease.
    #[inline]
    pub fn of(state: LoadState, value: Option<Value>) -> Self {
        Self { value, state, lease: None, waited: false, took_over: false }
    }
}

/// The result of a load.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    /// The loaded value; ignored for an absence.
    pub value: &'a [u8],
    /// True if the load found nothing.
    pub absent: bool,
    /// The time to live; `None` never expires.
    pub ttl: Option<Duration>,
    /// The time after the time to live in which the value may be served as stale.
    pub stale_for: Duration,
    /// Tags in addition to those of the lease.
    pub tags: &'a [&'a [u8]],
    /// True if the entry is to carry the duration of its load, for an early refresh.
    pub keeps_load: bool,
}

/// The data of a lease.
#[derive(Debug, Clone)]
pub struct LeaseData {
    /// The key.
    pub key: Vec<u8>,
    /// Identifies the lease: never used again, and not derived from a clock.
    pub token: u64,
    /// The instance of the backend that gave the lease: see `new_instance`.
    pub instance: u64,
    /// The tags that were named with the lease, with the versions that they had before the load.
    pub tags: Vec<TagVersion>,
    /// The stored names of these tags, if the entry is to store them.
    pub tag_names: TagNames,
    /// The version of the whole prefix before the load, on a store whose tags other processes invalidate.
    pub prefix_version: Option<u64>,
    /// The time at which the lease was taken.
    pub taken: Instant,
}

/// Abandons a lease at the backend that gave it.
pub type AbandonFn = Box<dyn FnOnce(LeaseData) + Send + Sync>;

/// A lease. One that is dropped unused is abandoned.
pub struct Lease {
    data: LeaseData,
    /// True once it was filled or abandoned.
    is_used: AtomicBool,
    abandon: Option<AbandonFn>,
    /// The process that took it: the child of a fork abandons nothing.
    generation: u32,
}

/// The leases that servers were asked for and may have given: a call that ends without the reply has to abandon them,
/// because no other caller would load the key until they expire. A call may ask more than one server: the fallback
/// serves after a server whose reply was lost.
#[derive(Debug, Default)]
pub struct InDoubt(Mutex<Vec<Lease>>);

impl InDoubt {
    fn add(&self, lease: &LeaseData) {
        lock(&self.0).push(Lease::new(lease.clone()));
    }

    /// Removes a lease that a server has given to the caller, or has refused.
    pub fn remove(&self, lease: &LeaseData) {
        lock(&self.0).retain(|known| (known.instance, known.token) != (lease.instance, lease.token));
    }

    /// Takes the leases out.
    pub fn take(&self) -> Vec<Lease> {
        mem::take(&mut lock(&self.0))
    }
}

/// Returns a number that identifies one backend in this process.
pub fn new_instance() -> u64 {
    static INSTANCES: AtomicU64 = AtomicU64::new(1);
    INSTANCES.fetch_add(1, Ordering::Relaxed)
}

impl Lease {
    /// Creates a lease that is not abandoned when it is dropped.
    pub fn new(data: LeaseData) -> Self {
        Self { data, is_used: AtomicBool::new(false), abandon: None, generation: fork::generation() }
    }

    /// Returns the lease that takes the place of another in an operation without its arguments.
    pub fn placeholder() -> &'static Arc<Self> {
        static PLACEHOLDER: OnceBox<Arc<Lease>> = OnceBox::new();
        PLACEHOLDER.get_or_init(|| Box::new(Arc::new(Self::new(LeaseData::none()))))
    }

    /// Has the lease abandoned if it is dropped unused.
    pub fn abandon_by(&mut self, abandon: AbandonFn) {
        self.abandon = Some(abandon);
    }

    /// Refuses a lease that was used already.
    pub fn check_unused(&self) -> Result<()> {
        if self.is_used.load(Ordering::Acquire) { Err(used()) } else { Ok(()) }
    }

    /// Claims the only use of the lease.
    pub fn claim(&self) -> Result<Claim<'_>> {
        if self.is_used.swap(true, Ordering::AcqRel) {
            return Err(used());
        }
        Ok(Claim(Some(self)))
    }
}

impl std::ops::Deref for Lease {
    type Target = LeaseData;

    fn deref(&self) -> &LeaseData {
        &self.data
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.data).finish()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let is_ours = self.generation == fork::generation();
        if let Some(abandon) = self.abandon.take().filter(|_| is_ours && !*self.is_used.get_mut()) {
            abandon(mem::replace(&mut self.data, LeaseData::none()));
        }
    }
}

impl LeaseData {
    fn none() -> Self {
        let (key, tags) = (Vec::new(), Vec::new());
        let tag_names = TagNames::default();
        Self { key, token: 0, instance: 0, tags, tag_names, prefix_version: None, taken: Instant::now() }
    }
}

/// The claim on the only use of a lease. It is given back unless it is kept: after a failure, or if the operation was
/// cancelled, the lease can be used again.
pub struct Claim<'a>(Option<&'a Lease>);

impl Claim<'_> {
    /// Marks the lease as used.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.0 {
            lease.is_used.store(false, Ordering::Release);
        }
    }
}

#[cold]
fn used() -> Error {
    Error::new(ErrorKind::Invalid, "the lease was used already: a lease is filled or abandoned once")
}

/// Returns true if a fresh value is due for an early refresh: XFetch with beta 1. The nearer the end of its time to live
/// and the longer its load, the more probable, so that one of many callers nearly always refreshes the value in time.
pub fn is_due(load: Duration, left: Option<Duration>) -> bool {
    /// The largest negative logarithm of a random number of 53 bits.
    const LARGEST: f64 = 36.8;
    let Some(left) = left.filter(|left| !load.is_zero() && load.as_secs_f64() * LARGEST >= left.as_secs_f64()) else {
        return false;
    };
    #[allow(clippy::cast_precision_loss)]
    let random = ((random::cheap() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    load.as_secs_f64() * -random.ln() >= left.as_secs_f64()
}

/// Returns the error of a caller that waited for the load of another in vain.
#[cold]
pub fn still_loading() -> Error {
    Error::new(ErrorKind::Busy, "another caller is still loading the key: try again, or wait longer (wait_ms)")
}

/// Returns the error for a key that no caller loads for some time after a failed load.
#[cold]
pub fn held_back(left: Duration) -> Error {
    let text = format!("the last load of the key failed, and it is not loaded again for {left:?} (retry_after_ms)");
    Error::new(ErrorKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_used_once_and_can_be_used_after_a_failure() {
        let lease = Lease::new(LeaseData::none());
        drop(lease.claim().unwrap());
        assert!(lease.check_unused().is_ok());
        lease.claim().unwrap().keep();
        assert_eq!(lease.check_unused().err().map(|error| error.kind()), Some(ErrorKind::Invalid));
        assert_eq!(lease.claim().err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    }

    #[test]
    fn a_lease_that_is_dropped_unused_is_abandoned() {
        let abandoned = Arc::new(AtomicU64::new(0));
        for used in [false, true] {
            let (mut lease, count) = (Lease::new(LeaseData { token: 7, ..LeaseData::none() }), abandoned.clone());
            lease.abandon_by(Box::new(move |data| _ = count.fetch_add(data.token, Ordering::Relaxed)));
            if used {
                lease.claim().unwrap().keep();
            }
            drop(lease);
            assert_eq!(abandoned.load(Ordering::Relaxed), 7);
        }
    }

    #[test]
    fn a_lease_that_was_given_leaves_the_others_in_doubt() {
        let (in_doubt, of) = (InDoubt::default(), |instance, token| LeaseData { instance, token, ..LeaseData::none() });
        [of(1, 7), of(2, 7), of(1, 8)].iter().for_each(|lease| in_doubt.add(lease));
        in_doubt.remove(&of(2, 7));
        let left: Vec<_> = in_doubt.take().iter().map(|lease| (lease.instance, lease.token)).collect();
        assert_eq!(left, [(1, 7), (1, 8)]);
        assert!(in_doubt.take().is_empty());
    }

    #[test]
    fn a_wait_ends_with_the_call_of_its_caller() {
        let (now, long) = (Instant::now(), Duration::from_secs(60));
        assert_eq!(Wait::AtMost(long).end(long, Some(now)), now);
        assert!(Wait::Call.end(long, None) >= now + long);
        assert!(Wait::No.end(long, None) < now + long);
    }
}
