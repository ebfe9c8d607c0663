//! Commands of the caller's choice: refuses those that a shared connection cannot run, and reads the replies to the others.

use super::commands::{Expected, Kind};
use super::resp::{RespReader, RespValue};
use super::run::{Received, unexpected};
use super::server_error;
use super::store::RedisStore;
use crate::command::{Command, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::allocation;
use crate::util::random::cheap;
use crate::util::shown::shown;

/// The deepest nesting of arrays in a reply: reading and dropping one is recursive.
const MAX_DEPTH: u32 = 128;

/// Commands that wait for other clients or for a time. They would hold up the calls that share their connection.
const BLOCKING: [&str; 10] =
    ["BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "WAIT", "WAITAOF"];
/// Subcommands that do.
const BLOCKING_OF: [(&str, &str); 2] = [("CLIENT", "PAUSE"), ("DEBUG", "SLEEP")];
/// Commands that change or end a connection, or change the replies that it gets.
const STATEFUL: [&str; 26] = [
    "ASKING",
    "AUTH",
    "DISCARD",
    "EXEC",
    "HELLO",
    "HOST:",
    "MONITOR",
    "MULTI",
    "POST",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SELECT",
    "SHUTDOWN",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
];
/// Subcommands that do.
const STATEFUL_OF: [(&str, &str); 2] = [("CLUSTER", "SYNCSLOTS"), ("SCRIPT", "DEBUG")];
/// The subcommands of CLIENT that change no connection of the cache. Others do, or later servers have others that do.
const CLIENT: [&str; 8] = ["GETNAME", "GETREDIR", "HELP", "ID", "INFO", "KILL", "LIST", "UNBLOCK"];

impl RedisStore {
    /// Runs a command on the server of its key, or on any.
    pub(super) async fn run_command(&self, context: CallContext, command: Command<'_>) -> Result<Reply> {
        refuse(command.args)?;
        let mut commands = self.commands(if command.is_idempotent { Kind::Repeatable } else { Kind::Once });
        let any_server = cheap().to_le_bytes();
        let key = command.key.and_then(|at| command.args.get(at)).copied().unwrap_or(&any_server);
        commands.push_for(key, command.args, Expected::Reply);
        let received = self.run(context, &commands).await.into_iter().next().unwrap_or_else(|| Err(unexpected()))?;
        let Received::Reply(bytes) = received else { return Err(unexpected()) };
        if let Some(RespValue::Error(text)) = RespReader(&bytes).next() {
            return Err(server_error::of_command(&self.topology.name(), text));
        }
        allocation::check(bytes.len().saturating_mul(2))?;
        read(&mut RespReader(&bytes), 0)
    }
}

/// Refuses a command that a shared connection cannot run.
fn refuse(args: &[&[u8]]) -> Result<()> {
    let is = |at: usize, name: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(name.as_bytes()));
    let is_one_of = |list: &[(&str, &str)]| list.iter().any(|(name, sub)| is(0, name) && is(1, sub));
    if BLOCKING.iter().any(|name| is(0, name)) || is_one_of(&BLOCKING_OF) || is_blocking_read(args) {
        let reason = "blocks, and would hold up the calls that share its connection";
        return Err(refused(args, reason, "call it in a form that does not block, such as without BLOCK"));
    }
    let is_other_client = is(0, "CLIENT") && !CLIENT.iter().any(|sub| is(1, sub));
    if STATEFUL.iter().any(|name| is(0, name)) || is_one_of(&STATEFUL_OF) || is_other_client {
        let remedy =
            "use the configuration of the cache for it, a script (EVAL) for a transaction, or a connection of your own";
        return Err(refused(args, "changes the state of a connection, which other calls share", remedy));
    }
    Ok(())
}

/// Returns true for a read of streams with the option BLOCK. The options come before STREAMS; names that follow GROUP are
/// not options.
fn is_blocking_read(args: &[&[u8]]) -> bool {
    let is = |arg: &[u8], name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
    let (Some(name), mut at) = (args.first(), 1) else { return false };
    if !is(name, "XREAD") && !is(name, "XREADGROUP") {
        return false;
    }
    while let Some(option) = args.get(at).filter(|option| !is(option, "STREAMS")) {
        if is(option, "BLOCK") {
            return true;
        }
        at += if is(option, "GROUP") {
            3
        } else if is(option, "COUNT") {
            2
        } else {
            1
        };
    }
    false
}

#[cold]
fn refused(args: &[&[u8]], reason: &str, remedy: &str) -> Error {
    let name = shown(args.first().copied().unwrap_or_default(), 40);
    Error::new(ErrorKind::Invalid, format!("the command {name} {reason}: {remedy}"))
}

/// Reads a reply with its elements.
fn read(from: &mut RespReader<'_>, depth: u32) -> Result<Reply> {
    if from.is_oversized() {
        return Err(too_long());
    }
    let is_missing = from.is_missing_array();
    Ok(match from.next().ok_or_else(unexpected)? {
        RespValue::Status(text) => Reply::Status(text.into()),
        RespValue::Error(text) => Reply::Error(text.into()),
        RespValue::Number(number) => Reply::Integer(number),
        RespValue::Bulk(None) => Reply::Nil,
        RespValue::Array(_) if is_missing => Reply::Nil,
        RespValue::Bulk(Some(bytes)) => Reply::String(bytes.into()),
        RespValue::Array(_) if depth == MAX_DEPTH => return Err(too_deep()),
        RespValue::Array(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            allocation::check(count.saturating_mul(size_of::<Reply>()))?;
            Reply::Array((0..count).map(|_| read(from, depth + 1)).collect::<Result<_>>()?)
        }
        RespValue::Push(_) | RespValue::Map(_) | RespValue::Null => return Err(unexpected()),
    })
}

#[cold]
fn too_long() -> Error {
    let text = "a string of the reply is longer than max_value_bytes: raise the option, or read it in parts";
    Error::new(ErrorKind::TooLarge, text)
}

#[cold]
fn too_deep() -> Error {
    Error::new(ErrorKind::Protocol, format!("the reply has arrays in each other beyond a depth of {MAX_DEPTH}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_a_shared_connection_cannot_run_are_refused() {
        let refused = |args: &[&[u8]]| refuse(args).is_err();
        assert!(refused(&[b"blpop", b"a", b"0"]) && refused(&[b"MULTI"]) && refused(&[b"Client", b"reply", b"OFF"]));
        assert!(refused(&[b"XREAD", b"count", b"1", b"block", b"0", b"STREAMS", b"a", b"0"]));
        assert!(refused(&[b"XREADGROUP", b"GROUP", b"streams", b"c", b"BLOCK", b"0", b"STREAMS", b"a", b">"]));
        assert!(!refused(&[b"XREADGROUP", b"GROUP", b"block", b"block", b"STREAMS", b"block", b">"]));
        assert!(!refused(&[b"XREAD", b"STREAMS", b"block", b"0"]), "a stream of this name");
        assert!(refused(&[b"CLIENT", b"capa", b"redirect"]) && refused(&[b"CLIENT"]) && refused(&[b"debug", b"sleep"]));
        assert!(!refused(&[b"DEBUG", b"OBJECT", b"a"]) && !refused(&[b"client", b"kill", b"ID", b"1"]));
        assert!(!refused(&[b"HSET", b"MULTI", b"a", b"b"]) && !refused(&[b"CLIENT", b"LIST"]));
    }

    #[test]
    fn a_reply_is_read_with_all_of_its_elements() {
        let read = |bytes: &[u8]| read(&mut RespReader(bytes), 0);
        let string = |text: &str| Reply::String(text.as_bytes().into());
        let nested = Reply::Array(vec![Reply::Integer(-7), Reply::Array(vec![string("a"), Reply::Nil])]);
        assert_eq!(read(b"*2\r\n:-7\r\n*2\r\n$1\r\na\r\n$-1\r\n").unwrap(), nested);
        let both = Reply::Array(vec![Reply::Error(b"ERR no"[..].into()), Reply::Status(b"OK"[..].into())]);
        assert_eq!(read(b"*2\r\n-ERR no\r\n+OK\r\n").unwrap(), both);
        assert_eq!((read(b"*-1\r\n").unwrap(), read(b"*0\r\n").unwrap()), (Reply::Nil, Reply::Array(vec![])));
        assert_eq!(read(b"*1\r\n$-01\r\n").unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(read(&b"*1\r\n".repeat(1_000_000)).unwrap_err().kind(), ErrorKind::Protocol);
    }
}
