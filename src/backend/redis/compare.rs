//! Compares the stored bytes, then changes them: a script on one name, since no command of Redis 7 does both.
//!
//! The last bytes of an entry are its checksum, which is another one for each set.

use std::time::Duration;

use super::commands::{Commands, Expected, Kind};
use super::expiry::millis;
use super::replay::REPLACED_LASTS;
use super::run::{Received, unexpected};
use super::scripts::{Script, is_refusal};
use super::store::{READ_LATE, RedisStore, push_set};
use crate::backend::remote::{Condition, EncodedEntry, Mark, Replaceable};
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
const SET: Script = Script {
    text: compared!("redis.call('SET',KEYS[1],ARGV[2],unpack(ARGV,3))"),
    sha1: b"3d78db2bad69103f906e42b2a83a3c24653a9b1f",
};
/// Stores bytes, and moves the expiry of the name by a time.
const SET_AND_MOVE: Script = Script {
    text: compared!(
        "redis.call('SET',KEYS[1],ARGV[2],'KEEPTTL') local p=redis.call('PTTL',KEYS[1]) if p>=0 then redis.call('PEXPIRE',KEYS[1],p+ARGV[3]) end"
    ),
    sha1: b"64e3853fd06f0e6a5951a260a777897b21196a59",
};
const UNLINK: Script =
    Script { text: compared!("redis.call('UNLINK',KEYS[1])"), sha1: b"b44f0887944a3a655df3f43a811be0706cda9f8b" };
const EXPIRE: Script = Script {
    text: compared!("redis.call('PEXPIRE',KEYS[1],ARGV[2])"),
    sha1: b"b52cc86bafc84fcf343b87ab75f906f5b2165c1f",
};
/// Stores a list, and another version of a tag in place of this one, which may be written with zeros before it. The version lasts
/// as long as the one before, and a time at least. The list of the one before gets another time.
const REPLACE: Script = Script {
    text: b"local v=redis.pcall('GET',KEYS[1]) if type(v)~='string' or string.gsub(v,'^0+','')~=ARGV[1] then return 0 end redis.call('SET',KEYS[2],ARGV[4],'PX',ARGV[5]) local p=redis.call('PTTL',KEYS[1]) redis.call('SET',KEYS[1],ARGV[2]) if p>=0 then redis.call('PEXPIRE',KEYS[1],math.max(p,ARGV[3])) end if KEYS[3] then redis.call('PEXPIRE',KEYS[3],ARGV[6]) end return 1",
    sha1: b"5efc152a2b93eb947b2a2714f0ac9d5f816eb390",
};
const PERSIST: Script =
    Script { text: compared!("redis.call('PERSIST',KEYS[1])"), sha1: b"72a026de3ef64a167d6bffdce839f22680c19e5a" };

#[cfg(test)]
pub(super) const SCRIPTS: &[Script] = &[SET, SET_AND_MOVE, UNLINK, EXPIRE, REPLACE, PERSIST];

impl RedisStore {
    /// Stores an entry if its condition holds.
    pub(super) async fn write_checked(&self, context: CallContext, prefix: &str, entry: &EncodedEntry) -> Result<bool> {
        // An entry that keeps its expiry has the tags of the one before, whose notes and versions stay as they are.
        let has_more = !entry.keeps_expiry && (self.tag_index || !entry.lasting.is_empty());
        let stored = match entry.condition {
            _ if has_more => return Box::pin(self.write_checked_with_more(context, prefix, entry)).await,
            Condition::Unchanged(mark) => {
                let set = ScriptSet::of(entry);
                let arguments = set.arguments(entry, &mark);
                self.changed(
                    self.run_script(context, set.script, &entry.name, &arguments, Kind::Once, Expected::Number).await,
                )
            }
            Condition::Always | Condition::Absent => {
                let mut commands = self.commands(Kind::Once);
                push_set(&mut commands, entry);
                self.changed(self.only(context, &commands).await)
            }
        };
        if let Ok(true) = stored {
            self.record.saw_set(entry);
        }
        stored
    }

    /// Does the same with the commands that accompany the entry.
    async fn write_checked_with_more(&self, context: CallContext, prefix: &str, entry: &EncodedEntry) -> Result<bool> {
        let mut commands = self.commands(Kind::Once);
        match entry.condition {
            Condition::Unchanged(mark) => {
                let (name, set) = (&entry.name[..], ScriptSet::of(entry));
                let parts: [&[u8]; 4] = [b"EVAL", set.script.text, b"1", name];
                commands.push(name, &[&parts[..], &set.arguments(entry, &mark)].concat());
            }
            Condition::Always | Condition::Absent => push_set(&mut commands, entry),
        }
        let written = std::slice::from_ref(entry);
        let accompanying = self.push_accompanying(&mut commands, prefix, written);
        let mut received = self.run(context, &commands).await.into_iter();
        let stored = self.changed(received.next().unwrap_or_else(|| Err(unexpected())));
        if let Ok(true) = stored {
            self.record.saw_set(entry);
        }
        let failed = self.finish_accompanying(context, prefix, written, accompanying, received).await;
        failed.into_iter().flatten().next().map_or(stored, Err)
    }

    /// Removes a name if the bytes of this mark are stored.
    pub(super) async fn remove_checked(&self, context: CallContext, name: &[u8], mark: Mark) -> Result<bool> {
        let arguments = [mark.as_bytes()];
        let removed = self.run_script(context, &UNLINK, name, &arguments, Kind::Once, Expected::Number).await;
        let removed = self.changed(removed)?;
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
        let (script, ttl) = (if ttl.is_some() { EXPIRE } else { PERSIST }, ttl.map(millis).unwrap_or_default());
        let arguments = [mark.as_bytes(), ttl.as_bytes()];
        self.changed(self.run_script(context, &script, name, &arguments, Kind::Repeatable, Expected::Number).await)
    }

    /// Stores a list and gives a tag another version, if it has that which is to be replaced. The list of that one, if it has a
    /// name, goes soon: reads that are under way may need it.
    pub(super) async fn replace_checked(
        &self,
        context: CallContext,
        name: &[u8],
        Replaceable { version, next, .. }: &Replaceable,
        list: &EncodedEntry,
        before: Option<&[u8]>,
    ) -> Result<bool> {
        let (version, next) = (version.to_string(), next.to_string());
        let (lasts, late) = (millis(list.ttl.unwrap_or_default()), millis(READ_LATE));
        let (keys, names): (&[u8], _) = match before {
            Some(before) => (b"3", vec![name, &list.name, before]),
            None => (b"2", vec![name, &list.name]),
        };
        let arguments =
            [version.as_bytes(), next.as_bytes(), REPLACED_LASTS, &list.bytes, lasts.as_bytes(), late.as_bytes()];
        // Barriers are rare: the server may not have the script.
        let mut commands = self.commands(Kind::Repeatable);
        let parts: [&[u8]; 3] = [b"EVAL", REPLACE.text, keys];
        commands.push_for(name, &[&parts[..], &names, &arguments].concat(), Expected::Number);
        self.changed(self.only(context, &commands).await)
    }

    /// Runs a script on one name. It is sent as text to a server that does not have it yet.
    pub(super) async fn run_script(
        &self,
        context: CallContext,
        script: &Script,
        name: &[u8],
        arguments: &[&[u8]],
        kind: Kind,
        expected: Expected,
    ) -> Result<Received> {
        if !self.scripts.needs_text() {
            let mut commands = self.commands(kind);
            let parts: &[&[u8]] = &[b"EVALSHA", script.sha1, b"1", name];
            commands.push_for(name, &[parts, arguments].concat(), expected);
            match self.only(context, &commands).await {
                Err(error) if self.scripts.wants_text(error.message()) => {}
                received => return received,
            }
        }
        let mut commands = self.commands(kind);
        let parts: &[&[u8]] = &[b"EVAL", script.text, b"1", name];
        commands.push_for(name, &[parts, arguments].concat(), expected);
        self.only(context, &commands).await
    }

    async fn only(&self, context: CallContext, commands: &Commands) -> Result<Received> {
        self.run(context, commands).await.into_iter().next().unwrap_or_else(|| Err(unexpected()))
    }

    /// Returns whether a script or a conditional SET made its change.
    fn changed(&self, received: Result<Received>) -> Result<bool> {
        match received {
            Ok(Received::Done) => Ok(true),
            Ok(Received::Number(number)) => Ok(number == 1),
            Ok(Received::Bulk(None)) => Ok(false),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(self.failed_script(error)),
        }
    }

    /// Returns the error of a script. Names the missing permission if the server refuses scripts.
    #[cold]
    pub(super) fn failed_script(&self, error: Error) -> Error {
        if !is_refusal(error.message()) {
            return error;
        }
        self.scripts.refuse();
        let text = format!(
            "conditional writes, counters and barriers need the command EVAL, which the server refuses: grant it to the user (ACL SETUSER … +eval), or enable scripts ({error})"
        );
        Error::new(ErrorKind::Unsupported, text)
    }
}

/// The script that stores an entry, and its options.
struct ScriptSet {
    script: &'static Script,
    /// The words before a time, and the time.
    option: &'static [&'static [u8]],
    time: Option<String>,
}

impl ScriptSet {
    fn of(entry: &EncodedEntry) -> Self {
        match entry.ttl.map(millis) {
            _ if entry.keeps_expiry && entry.moves_ms != 0 => {
                Self { script: &SET_AND_MOVE, option: &[], time: Some(entry.moves_ms.to_string()) }
            }
            _ if entry.keeps_expiry => Self { script: &SET, option: &[b"KEEPTTL"], time: None },
            Some(ttl) => Self { script: &SET, option: &[b"PX"], time: Some(ttl) },
            None => Self { script: &SET, option: &[], time: None },
        }
    }

    /// Returns the arguments of the script.
    fn arguments<'a>(&'a self, entry: &'a EncodedEntry, mark: &'a Mark) -> Vec<&'a [u8]> {
        let time = self.time.as_ref().map(String::as_bytes);
        let bytes = [mark.as_bytes(), &entry.bytes[..]];
        bytes.into_iter().chain(self.option.iter().copied()).chain(time).collect()
    }
}
