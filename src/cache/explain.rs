//! The explanation of a key as JSON. Tags are stored as hashes: those that the caller or the entry names are
//! reported by name.

use serde_json::{Value as Json, json};

use super::Cache;
use crate::entry::tag_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::explanation::{EntryFacts, Explanation, KeyState, LeaseFacts, MissReason, TagFacts, TagState};
use crate::key::{check_key, check_tags};
use crate::naming::given_name;
use crate::operation::{Operation, Outcome};
use crate::ttl::left_millis;
use crate::util::millis;
use crate::util::shown::escaped;

/// The name of a tag and the hash by which it is stored.
type Named<'a> = (&'a [u8], u64);

/// The reason for which the age of an entry is not reported.
const AGE_UNKNOWN: &str = "the time of the set is not stored: in memory with entries that were set without a time to live, on Redis with counters, and with entries of earlier versions of the library";

/// Refuses the arguments that `Cache::explain` would refuse.
pub(super) fn check_explain(key: &[u8], tags: &[&[u8]]) -> Result<()> {
    check_key(key).and_then(|()| check_tags(tags))
}

impl Cache {
    /// Reports on a key: whether a get returns its value, and why. `tags` are names by which tags are reported. Counts
    /// as neither a hit nor a miss, is no use of the entry, and changes nothing.
    pub async fn explain(&self, context: CallContext, key: &[u8], tags: &[&[u8]]) -> Result<Json> {
        check_explain(key, tags)?;
        match self.call(context, Operation::Explain { key }).await? {
            Outcome::Explanation(explanation) => {
                let given = tags.iter().map(|tag| (*tag, self.naming.tag_hash(tag)));
                let own = explanation.entry.iter().flat_map(|entry| entry.tag_names.iter());
                let own = own.map(|stored| (given_name(stored), tag_hash(stored)));
                let names: Vec<Named<'_>> = given.chain(own).collect();
                Ok(report(&explanation, &names))
            }
            _ => Err(Error::new(ErrorKind::Unsupported, "this backend cannot explain keys")),
        }
    }
}

fn report(explanation: &Explanation, names: &[Named<'_>]) -> Json {
    let Explanation { entry, location, .. } = explanation;
    let age = entry.as_ref().and_then(|entry| entry.age);
    json!({
        "exists": matches!(explanation.state, KeyState::Fresh(_)),
        "state": state(explanation.state),
        "reason": reason(explanation.state),
        "message": message(explanation, names),
        "ttl_ms": ttl_millis(explanation.state),
        "stale_ms": stale_millis(explanation),
        "age_ms": age.map(millis),
        "age_unknown": entry.as_ref().filter(|_| age.is_none()).map(|_| AGE_UNKNOWN),
        "version": entry.as_ref().map(|entry| entry.version.to_string()),
        "value_bytes": entry.as_ref().map(|entry| entry.value_bytes),
        "stored_bytes": explanation.stored_bytes,
        "tags": entry.iter().flat_map(|entry| &entry.tags).map(|tag| tag_report(tag, names)).collect::<Vec<_>>(),
        "tags_not_carried": not_carried(entry.as_ref(), names),
        "lease": explanation.lease.map(lease),
        "serving": if explanation.is_fallback { "fallback" } else { "primary" },
        "backend": explanation.backend,
        "server": location.server,
        "topology": location.topology,
        "slot": location.slot,
        "stored_name": explanation.stored_name.as_deref().map(escaped),
    })
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Fresh(_) => "fresh",
        KeyState::Stale(_) => "stale",
        KeyState::Absent(_) => "absent",
        KeyState::Missing(_) => "missing",
    }
}

/// Returns the time that is left of a fresh value or of an absence; `None`: it has no end.
fn ttl_millis(state: KeyState) -> Option<u64> {
    match state {
        KeyState::Fresh(left) | KeyState::Absent(left) => left.map(left_millis),
        KeyState::Stale(_) | KeyState::Missing(_) => None,
    }
}

/// Returns the time in which a value may be served as stale: the rest of it, or all of it before it begins.
fn stale_millis(explanation: &Explanation) -> Option<u64> {
    match explanation.state {
        KeyState::Stale(left) => left.map(left_millis),
        KeyState::Fresh(_) => {
            let stale_for = explanation.entry.as_ref().map(|entry| millis(entry.stale_for));
            stale_for.filter(|millis| *millis != 0)
        }
        KeyState::Absent(_) | KeyState::Missing(_) => None,
    }
}

fn reason(state: KeyState) -> Option<&'static str> {
    match state {
        KeyState::Fresh(_) => None,
        KeyState::Stale(_) => Some("expired"),
        KeyState::Absent(_) => Some("absent"),
        KeyState::Missing(reason) => Some(match reason {
            MissReason::NotStored => "not_stored",
            MissReason::Expired => "expired",
            MissReason::Invalidated => "invalidated",
            MissReason::Damaged => "damaged",
            MissReason::Foreign => "foreign",
            MissReason::LaterVersion => "later_version",
            MissReason::Outdated => "outdated",
            MissReason::Leased => "leased",
            MissReason::HeldBack => "held_back",
        }),
    }
}

fn message(explanation: &Explanation, names: &[Named<'_>]) -> String {
    let text = match explanation.state {
        KeyState::Fresh(_) => "a get returns the value",
        KeyState::Stale(_) => {
            "the time to live is over: a get is a miss; a read with a lease may serve the stale value"
        }
        KeyState::Absent(_) => "an earlier load found nothing, and the cache remembers that",
        KeyState::Missing(MissReason::Invalidated) => return invalidated(explanation.entry.as_ref(), names),
        KeyState::Missing(reason) => miss(reason),
    };
    text.to_owned()
}

fn miss(reason: MissReason) -> &'static str {
    match reason {
        MissReason::NotStored => {
            "nothing is stored: the key was never set, or it expired, was deleted, evicted, or removed by a pattern or a flush"
        }
        MissReason::Expired => "the time to live is over",
        MissReason::Invalidated => "a tag was invalidated",
        MissReason::Damaged => {
            "the stored bytes are damaged: they begin as an entry, but are not whole or were changed"
        }
        MissReason::Foreign => "the stored bytes are not an entry of this key: another program wrote under its name",
        MissReason::LaterVersion => "a later version of the library wrote the entry",
        MissReason::Outdated => {
            "the entry was stored before the servers changed: one left or returned (failover: eject, discovery: config)"
        }
        MissReason::Leased => "a caller has the lease and loads the value; there is no value yet",
        MissReason::HeldBack => "the last load failed, and no caller loads the key for a time (retry_after)",
    }
}

/// Returns the message for an entry whose tags are not all current.
fn invalidated(entry: Option<&EntryFacts>, names: &[Named<'_>]) -> String {
    let tags = || entry.iter().flat_map(|entry| &entry.tags);
    let of = |state: TagState, text: &str| {
        let named: Vec<String> = tags().filter(|tag| tag.state == state).map(|tag| shown_tag(tag, names)).collect();
        (!named.is_empty()).then(|| format!("{text}: {}", named.join(", ")))
    };
    let parts = [
        of(TagState::Invalidated, "tags were invalidated after the entry was stored"),
        of(TagState::Lost, "the versions of tags are missing (evicted or expired), which counts as an invalidation"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn name_of<'a>(tag: &TagFacts, names: &[Named<'a>]) -> Option<&'a [u8]> {
    names.iter().find(|name| name.1 == tag.tag).map(|name| name.0)
}

fn shown_tag(tag: &TagFacts, names: &[Named<'_>]) -> String {
    name_of(tag, names).map_or_else(|| hash_text(tag.tag), escaped)
}

/// Returns a hash as it is in the stored name of the version of its tag.
fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

fn tag_report(tag: &TagFacts, names: &[Named<'_>]) -> Json {
    let status = match tag.state {
        TagState::Current => "current",
        TagState::Invalidated => "invalidated",
        TagState::Lost => "lost",
    };
    json!({ "name": name_of(tag, names).map(escaped), "hash": hash_text(tag.tag), "status": status })
}

/// Returns the names that are not those of tags of the entry; none without an entry.
fn not_carried(entry: Option<&EntryFacts>, names: &[Named<'_>]) -> Vec<String> {
    let Some(entry) = entry else { return Vec::new() };
    let carries = |name: &&Named<'_>| entry.tags.iter().any(|tag| tag.tag == name.1);
    names.iter().filter(|name| !carries(name)).map(|name| escaped(name.0)).collect()
}

fn lease(lease: LeaseFacts) -> Json {
    json!({
        "kind": if lease.is_held_back { "held_back" } else { "held" },
        "left_ms": left_millis(lease.left),
    })
}
