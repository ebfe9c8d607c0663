//! Compares the stored bytes, then changes them: a script on one name, since no command of Redis 7 does both.
//!
//! The last bytes of an entry are its checksum, which is another one for each set. A script is sent as text: servers keep
//! it compiled, and it needs no reload after a restart, a failover or a redirection.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::commands::{Commands, Kind};
use super::expiry::millis;
use super::run::{Received, unexpected};
use super::store::{RedisStore, push_set};
use crate::backend::remote::{Condition, EncodedEntry, Mark};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;

/// Continues if the name holds bytes that end like this. A value of another type has no bytes.
macro_rules! compared {
    ($change:literal) => {
        concat!(
            "local t=redis.pcall('GETRANGE',KEYS[1],-8,-1) if type(t)=='table' then t='' end ",
            "if t~=ARGV[1] then return 0 end ",
            $change,
            " return 1"
        )
        .as_bytes()
    };
}

/// Stores bytes, with the options of SET.
const SET: &[u8] = compared!("redis.call('SET',KEYS[1],ARGV[2],unpack(ARGV,3))");
const UNLINK: &[u8] = compared!("redis.call('UNLINK',KEYS[1])");
const EXPIRE: &[u8] = compared!("redis.call('PEXPIRE',KEYS[1],ARGV[2])");
const PERSIST: &[u8] = compared!("redis.call('PERSIST',KEYS[1])");

/// A script that shows whether the server runs scripts. A handshake sends it.
pub const PROBE: [&[u8]; 3] = [b"EVAL", b"return 1", b"0"];

/// Records that the server refuses scripts, as the last handshake or call has shown.
#[derive(Default)]
pub struct ScriptSupport {
    is_refused: AtomicBool,
}

impl ScriptSupport {
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Relaxed)
    }

    /// Learns from the reply to a probe: the text of an error, if it is one.
    pub fn learn(&self, error: Option<&[u8]>) {
        self.is_refused.store(error.is_some_and(|text| is_refusal(&String::from_utf8_lossy(text))), Relaxed);
    }
}

impl RedisStore {
    /// Stores an entry if its condition holds.
    pub(super) async fn write_checked(&self, context: CallContext, prefix: &str, entry: &EncodedEntry) -> Result<bool> {
        let mut commands = self.commands(Kind::Once);
        match entry.condition {
            Condition::Unchanged(mark) => push_script_set(&mut commands, entry, mark),
            Condition::Always | Condition::Absent => push_set(&mut commands, entry),
        }
        // An entry that keeps its expiry has the tags of the one before, whose notes and versions stay as they are.
        let has_more = !entry.keeps_expiry && (self.tag_index || !entry.lasting.is_empty());
        let written = std::slice::from_ref(entry);
        let accompanying = has_more.then(|| self.push_accompanying(&mut commands, prefix, written));
        let mut received = self.run(context, &commands).await.into_iter();
        let stored = self.changed(received.next().unwrap_or_else(|| Err(unexpected())));
        if let Ok(true) = stored {
            self.record.saw_set(entry);
        }
        if let Some(accompanying) = accompanying {
            let failed = Box::pin(self.finish_accompanying(context, prefix, written, accompanying, received)).await;
            failed.into_iter().flatten().next().map_or(Ok(()), Err)?;
        }
        stored
    }

    /// Removes a name if the bytes of this mark are stored.
    pub(super) async fn remove_checked(&self, context: CallContext, name: &[u8], mark: Mark) -> Result<bool> {
        let mut commands = self.commands(Kind::Once);
        commands.push(name, &[b"EVAL", UNLINK, b"1", name, mark.as_bytes()]);
        let removed = self.only_changed(context, &commands).await?;
        if removed {
            self.record.note_names(&[name]);
        }
        Ok(removed)
    }

    /// Gives a name another time to live if the bytes of this mark are stored.
    pub(super) async fn expire_checked(
        &self,
        context: CallContext,
        name: &[u8],
        mark: Mark,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let mut commands = self.commands(Kind::Repeatable);
        match ttl.map(millis) {
            Some(ttl) => commands.push(name, &[b"EVAL", EXPIRE, b"1", name, mark.as_bytes(), ttl.as_bytes()]),
            None => commands.push(name, &[b"EVAL", PERSIST, b"1", name, mark.as_bytes()]),
        }
        self.only_changed(context, &commands).await
    }

    async fn only_changed(&self, context: CallContext, commands: &Commands) -> Result<bool> {
        let received = self.run(context, commands).await.into_iter().next();
        self.changed(received.unwrap_or_else(|| Err(unexpected())))
    }

    /// Returns whether a script or a conditional SET made its change.
    fn changed(&self, received: Result<Received>) -> Result<bool> {
        match received {
            Ok(Received::Done) => Ok(true),
            Ok(Received::Number(number)) => Ok(number == 1),
            Ok(Received::Bulk(None)) => Ok(false),
            Ok(_) => Err(unexpected()),
            Err(error) if is_refusal(error.message()) => {
                self.scripts.is_refused.store(true, Relaxed);
                Err(unsupported(&error))
            }
            Err(error) => Err(error),
        }
    }
}

fn push_script_set(commands: &mut Commands, entry: &EncodedEntry, mark: Mark) {
    let EncodedEntry { name, bytes, ttl, keeps_expiry, .. } = entry;
    let ttl = ttl.map(millis);
    let options: &[&[u8]] = match &ttl {
        _ if *keeps_expiry => &[b"KEEPTTL"],
        Some(ttl) => &[b"PX", ttl.as_bytes()],
        None => &[],
    };
    commands.push(name, &[&[b"EVAL", SET, b"1", &name[..], mark.as_bytes(), bytes], options].concat());
}

/// Returns whether the server refuses the script itself: by its ACL, or because it has no scripts.
fn is_refusal(text: &str) -> bool {
    let names_it = text.contains("'eval'") || text.contains("'EVAL'");
    names_it && (text.contains("NOPERM") || text.contains("unknown command"))
}

#[cold]
fn unsupported(error: &Error) -> Error {
    let text = format!(
        "conditional writes and counters need the command EVAL, which the server refuses: grant it to the user (ACL SETUSER … +eval), or enable scripts ({error})"
    );
    Error::new(ErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::redis::server_error;

    #[test]
    fn only_a_refused_script_is_unsupported() {
        let refused = |text: &[u8]| is_refusal(server_error::error("cache:6379", text).message());
        assert!(refused(b"NOPERM this user has no permissions to run the 'eval' command"));
        assert!(refused(b"ERR unknown command 'EVAL', with args beginning with: 'x' "));
        assert!(!refused(b"NOPERM this user has no permissions to access one of the keys used as arguments"));
        assert!(!refused(b"OOM command not allowed when used memory > 'maxmemory'."));
        let support = ScriptSupport::default();
        support.learn(Some(b"NOPERM this user has no permissions to run the 'eval' command"));
        assert!(support.is_refused());
        support.learn(Some(b"BUSY Redis is busy running a script."));
        assert!(!support.is_refused());
        assert_eq!(unsupported(&Error::new(ErrorKind::Denied, "cache:6379: no")).kind(), ErrorKind::Unsupported);
    }
}
