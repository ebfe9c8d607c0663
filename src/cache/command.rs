//! Commands of Redis: their arguments, and names for their data.

use super::{COPIES, Cache};
use crate::backend::{no_commands, redis};
use crate::command::Command;
use crate::error::{Error, ErrorKind, Result};
use crate::util::allocation;

/// The most arguments of a command. A server closes the connection of one with more.
const MAX_ARGS: usize = 1 << 20;

impl Cache {
    /// Returns the name of a key for commands, under the prefix of this cache.
    pub fn redis_name(&self, key: &[u8]) -> Result<Vec<u8>> {
        if !self.capabilities().command {
            return Err(no_commands(self.backend.name()));
        }
        Ok(redis::data_name(&self.common.key_prefix, &self.naming.stored(key)))
    }

    /// Refuses a command whose arguments are not allowed.
    pub(super) fn check_command(&self, command: &Command<'_>) -> Result<()> {
        let count = command.args.len();
        if command.args.first().is_none_or(|name| name.is_empty()) {
            let text = "the first argument of a command is its name: it must not be empty";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        if let Some(at) = command.key.filter(|at| *at == 0 || *at >= count) {
            let text =
                format!("key_index is {at}; it must be the index of one of the {count} arguments, after the name");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        if count > MAX_ARGS {
            let text = format!("the command has {count} arguments; a server takes {MAX_ARGS}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let bytes: usize = command.args.iter().map(|arg| arg.len()).sum();
        allocation::check(COPIES.saturating_mul(bytes))?;
        command.args.iter().try_for_each(|arg| self.check_value(arg))
    }
}
