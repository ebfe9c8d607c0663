//! Compares the stored bytes, then changes them: a script on one name, since no command of Redis 7 does both.
//!
//! The last bytes of an entry are its checksum, which is another one for each set. A script is sent as text: servers keep
//! it compiled, and it needs no reload after a restart, a failover or a redirection.

use std::time::Duration;

use super::commands::{Commands, Kind};
use super::expiry::millis;
use super::run::{Received, unexpected};
use super::scripts::is_refusal;
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
/// Stores bytes, and moves the expiry of the name by a time.
const SET_AND_MOVE: &[u8] = compared!(
    "redis.call('SET',KEYS[1],ARGV[2],'KEEPTTL') local p=redis.call('PTTL',KEYS[1]) if p>=0 then redis.call('PEXPIRE',KEYS[1],p+ARGV[3]) end"
);
const UNLINK: &[u8] = compared!("redis.call('UNLINK',KEYS[1])");
const EXPIRE: &[u8] = compared!("redis.call('PEXPIRE',KEYS[1],ARGV[2])");
const PERSIST: &[u8] = compared!("redis.call('PERSIST',KEYS[1])");

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
                self.scripts.refuse();
                Err(unsupported(&error))
            }
            Err(error) => Err(error),
        }
    }
}

fn push_script_set(commands: &mut Commands, entry: &EncodedEntry, mark: Mark) {
    let EncodedEntry { name, bytes, ttl, keeps_expiry, moves_ms, .. } = entry;
    let ttl = ttl.map(millis);
    if *keeps_expiry && *moves_ms != 0 {
        let moves = moves_ms.to_string();
        let parts: [&[u8]; 7] = [b"EVAL", SET_AND_MOVE, b"1", name, mark.as_bytes(), bytes, moves.as_bytes()];
        return commands.push(name, &parts);
    }
    let options: &[&[u8]] = match &ttl {
        _ if *keeps_expiry => &[b"KEEPTTL"],
        Some(ttl) => &[b"PX", ttl.as_bytes()],
        None => &[],
    };
    commands.push(name, &[&[b"EVAL", SET, b"1", &name[..], mark.as_bytes(), bytes], options].concat());
}

#[cold]
fn unsupported(error: &Error) -> Error {
    let text = format!(
        "conditional writes and counters need the command EVAL, which the server refuses: grant it to the user (ACL SETUSER … +eval), or enable scripts ({error})"
    );
    Error::new(ErrorKind::Unsupported, text)
}
