//! Changes an entry where it is, with one script and no read before: adds to a counter, reads an entry and gives it
//! another time to live.
//!
//! A script recognises what it can change by its first bytes. It leaves everything else to the attempts that read, decide
//! and compare: entries with tags, whose versions must be compared, values that may be stale, counters in the form of an
//! entry, large numbers (a script has no integers of 64 bits), other bytes and other types.

use std::time::Duration;

use super::commands::{Expected, Kind};
use super::expiry::millis;
use super::run::{Received, unexpected};
use super::scripts::Script;
use super::store::RedisStore;
use crate::backend::remote::{Change, Slice};
use crate::entry::{PLAIN, counter};
use crate::error::Result;
use crate::exec::context::CallContext;

/// Adds to a counter, or creates it. Arguments: the header, the number to add, the nonce, the first value, the options of
/// a SET. An empty first value creates nothing. Returns the sum, or nil if nothing was changed.
const ADD: Script = Script {
    text: b"local s=redis.pcall('GET',KEYS[1]) local h,d,f=ARGV[1],ARGV[2],ARGV[4] \
        if not s then if f=='' then return s end redis.call('SET',KEYS[1],h..f..f..ARGV[3],unpack(ARGV,5)) return f end \
        if type(s)~='string' or string.sub(s,1,#h)~=h then return false end \
        local l=#h+(#s-#h-8)/2 local t=string.sub(s,#h+1,l) \
        if #t>15 or #d>15 or t~=string.sub(s,l+1,-9) or not tonumber(t) then return false end \
        t=string.format('%.0f',t+d) redis.call('SET',KEYS[1],h..t..t..ARGV[3],'KEEPTTL') return t",
    sha1: b"06983eae549f262de66df256c9d01f2dc8c22068",
};

/// Reads an entry and gives it another time to live. Arguments: the first bytes of an entry and of a counter without tags,
/// the time to live, empty for none. Returns the bytes, nil if there are none, or an empty string if nothing was changed.
const TOUCH: Script = Script {
    text: b"local s=redis.pcall('GET',KEYS[1]) if not s then return s end if type(s)~='string' then return '' end \
        local b=string.sub(s,1,4) if b~=ARGV[1] and b~=ARGV[2] then return '' end \
        if ARGV[3]=='' then redis.call('PERSIST',KEYS[1]) else redis.call('PEXPIRE',KEYS[1],ARGV[3]) end return s",
    sha1: b"eb58cb04884e18f2e41dfc2c1c938421373835dc",
};

#[cfg(test)]
pub(super) const SCRIPTS: &[Script] = &[ADD, TOUCH];

impl RedisStore {
    /// Adds to a counter in place.
    pub(super) async fn add(&self, context: CallContext, name: &[u8], change: &Change) -> Result<Option<i64>> {
        let (header, nonce, delta) = (counter::head(name), change.nonce.to_le_bytes(), change.delta.to_string());
        let first = change.first.map(|first| first.to_string()).unwrap_or_default();
        let ttl = change.ttl.map(millis).unwrap_or_default();
        let arguments: [&[u8]; 6] = [&header, delta.as_bytes(), &nonce, first.as_bytes(), b"PX", ttl.as_bytes()];
        let arguments = if change.ttl.is_some() { &arguments[..] } else { &arguments[..4] };
        let added = self.run_script(context, &ADD, name, arguments, Kind::Once, Expected::String).await;
        let sum = match added.map_err(|error| self.failed_script(error))? {
            Received::Bulk(None) => return Ok(None),
            Received::Bulk(Some(sum)) => sum,
            _ => return Err(unexpected()),
        };
        self.record.saw_counter(name, change.nonce);
        std::str::from_utf8(&sum).ok().and_then(|sum| sum.parse().ok()).map(Some).ok_or_else(unexpected)
    }

    /// Reads an entry and gives it another time to live in place.
    pub(super) async fn touch(
        &self,
        context: CallContext,
        name: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Option<Option<Slice>>> {
        let ttl = ttl.map(millis).unwrap_or_default();
        let arguments: [&[u8]; 3] = [&PLAIN, &counter::head(name)[..PLAIN.len()], ttl.as_bytes()];
        let read = self.run_script(context, &TOUCH, name, &arguments, Kind::Repeatable, Expected::String).await;
        match read.map_err(|error| self.failed_script(error))? {
            Received::Bulk(Some(bytes)) if bytes.is_empty() => Ok(None),
            Received::Bulk(bytes) => Ok(Some(bytes)),
            _ => Err(unexpected()),
        }
    }
}
