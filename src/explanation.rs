//! The report on a key as data of the backend that has it: what a get would return, and why.

use std::time::Duration;

use crate::tag_names::TagNames;

/// The report on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The name of the backend that has the key.
    pub backend: &'static str,
    /// True if the backend serves as a fallback.
    pub is_fallback: bool,
    /// The place of the key.
    pub location: Location,
    /// The stored name; `None` if the backend stores the key itself.
    pub stored_name: Option<Vec<u8>>,
    /// The bytes that the key takes, also if they are not an entry; `None` if nothing is stored.
    pub stored_bytes: Option<u64>,
    /// The answer of a get, with its reason.
    pub state: KeyState,
    /// The entry of the key, also one that a get does not return.
    pub entry: Option<EntryFacts>,
    /// The lease of the key.
    pub lease: Option<LeaseFacts>,
}

/// The place of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// The server, as reports name it; `memory` in this process.
    pub server: String,
    /// The topology of the servers, if they have one.
    pub topology: Option<&'static str>,
    /// The slot of a cluster.
    pub slot: Option<u16>,
}

/// The answer of a get, with the time that is left; no time if it has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// The value, for the time that is left.
    Fresh(Option<Duration>),
    /// A miss; a read for loading may serve the value for the time that is left.
    Stale(Option<Duration>),
    /// A miss; a read for loading reports that an earlier load found nothing.
    Absent(Option<Duration>),
    /// A miss.
    Missing(MissReason),
}

/// The reason of a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissReason {
    /// Nothing is stored.
    NotStored,
    /// The time to live is over.
    Expired,
    /// A tag of the entry is not current.
    Invalidated,
    /// The bytes of the entry were changed.
    Damaged,
    /// The bytes are not an entry of the key.
    Foreign,
    /// A later version of the library wrote the entry.
    LaterVersion,
    /// The entry was stored before its server left the ring or returned to it.
    Outdated,
    /// A caller loads the key, and there is no value yet.
    Leased,
    /// A load failed, and no caller loads the key for a time.
    HeldBack,
}

/// The properties of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFacts {
    /// The version that conditional operations compare.
    pub version: u64,
    /// The time since it was set, up to about two seconds more; `None` if it is not known.
    pub age: Option<Duration>,
    /// The length of the value.
    pub value_bytes: u64,
    /// The time after the time to live in which the value may be served as stale.
    pub stale_for: Duration,
    /// The tags.
    pub tags: Vec<TagFacts>,
    /// The names of the tags, if the entry stores them.
    pub tag_names: TagNames,
}

/// A tag of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagFacts {
    /// The hash of its name.
    pub tag: u64,
    /// Its state.
    pub state: TagState,
}

/// The state of a tag of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagState {
    /// It was not invalidated since the entry was stored.
    Current,
    /// It was invalidated since.
    Invalidated,
    /// Its version is missing in the store, which counts as an invalidation.
    Lost,
}

/// The lease of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseFacts {
    /// True if a load failed: no caller has the lease.
    pub is_held_back: bool,
    /// The time until it ends by itself.
    pub left: Duration,
}

impl EntryFacts {
    /// Returns true if none of the tags was invalidated.
    pub fn is_current(&self) -> bool {
        self.tags.iter().all(|tag| tag.state == TagState::Current)
    }
}

impl LeaseFacts {
    /// Returns the reason for which a key with this lease and without a value is a miss.
    pub fn reason(self) -> MissReason {
        if self.is_held_back { MissReason::HeldBack } else { MissReason::Leased }
    }
}
