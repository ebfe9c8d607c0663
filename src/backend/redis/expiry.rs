//! Expiries as Redis takes them, and the commands that only ever move one further away.
//!
//! Redis does that with `PEXPIRE … GT` since 7.0; an older server runs a script of one line.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use super::commands::Commands;
use crate::error::Error;
use crate::util;

/// Moves an expiry further away; gives one to a name that has none where the second argument says so.
const SCRIPT: &[u8] = b"local t=redis.call('PTTL',KEYS[1]) \
    if (t==-1 and ARGV[2]=='1') or (t>=0 and t<tonumber(ARGV[1])) then redis.call('PEXPIRE',KEYS[1],ARGV[1]) end return 1";

/// The ways to move an expiry further away; a later one is for servers that refuse those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `PEXPIRE … GT`, since Redis 7.0.
    Greater,
    /// A script.
    Script,
    /// None: what would need it never expires.
    Never,
}

/// The way that the server is known to take.
#[derive(Default)]
pub struct KnownWay(AtomicU8);

impl KnownWay {
    pub fn get(&self) -> Way {
        match self.0.load(Relaxed) {
            0 => Way::Greater,
            1 => Way::Script,
            _ => Way::Never,
        }
    }

    /// Learns from a server error; returns whether there is another way.
    pub fn learn(&self, tried: Way, error: &Error) -> bool {
        let (next, text) = match tried {
            Way::Greater => (1, ["wrong number of arguments", "nsupported option"]),
            Way::Script => (2, ["NOPERM", "unknown command"]),
            Way::Never => return false,
        };
        if !text.iter().any(|text| error.message().contains(text)) {
            return false;
        }
        if self.0.fetch_max(next, Relaxed) < next && tried == Way::Script {
            tracing::warn!(
                "tag versions never expire on this server, because it is older than Redis 7 and runs no scripts: {error}"
            );
        }
        true
    }
}

/// Adds the commands that move an expiry further away.
pub fn push_longer(commands: &mut Commands, way: Way, name: &[u8], lifetime: Duration, from_none: bool) {
    let lifetime = millis(lifetime);
    let lifetime = lifetime.as_bytes();
    match way {
        Way::Greater => {
            if from_none {
                commands.push(name, &[b"PEXPIRE", name, lifetime, b"NX"]);
            }
            commands.push(name, &[b"PEXPIRE", name, lifetime, b"GT"]);
        }
        Way::Script => {
            let from_none: &[u8] = if from_none { b"1" } else { b"0" };
            commands.push(name, &[b"EVAL", SCRIPT, b"1", name, lifetime, from_none]);
        }
        Way::Never => commands.push(name, &[b"PERSIST", name]),
    }
}

/// Returns a time to live as an argument. It is at least 1: Redis refuses 0.
pub fn millis(ttl: Duration) -> String {
    util::millis(ttl).max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_server_error_leads_to_the_next_way_once() {
        let (known, error) = (KnownWay::default(), |text: &str| Error::new(ErrorKind::Server, text));
        assert!(!known.learn(Way::Greater, &error("a:1: OOM; more memory")));
        assert_eq!(known.get(), Way::Greater);
        assert!(known.learn(Way::Greater, &error("a:1: ERR wrong number of arguments for 'pexpire' command")));
        assert_eq!(known.get(), Way::Script);
        // Another thread had tried before that was known.
        assert!(known.learn(Way::Greater, &error("a:1: ERR wrong number of arguments for 'pexpire' command")));
        assert_eq!(known.get(), Way::Script);
        assert!(known.learn(Way::Script, &error("a:1: NOPERM this user has no permissions to run the 'eval' command")));
        assert_eq!(known.get(), Way::Never);
        assert!(!known.learn(Way::Never, &error("a:1: NOPERM")));
    }
}
