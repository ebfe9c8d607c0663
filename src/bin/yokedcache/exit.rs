//! Defines the exit codes.

use std::process::ExitCode;

use yokedcache::error::{Error, ErrorKind};

/// The result of a command. `--help` and the guide explain each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// Success, and the answer is no.
    No = 1,
    /// The command or an argument of it is not allowed.
    Usage = 2,
    /// The configuration is not usable.
    Configuration = 3,
    /// A server did not reply: the same command may succeed later.
    NotNow = 4,
    /// Anything else.
    Failed = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::TooLarge => Self::Usage,
            ErrorKind::Config => Self::Configuration,
            _ if error.is_retryable() => Self::NotNow,
            _ => Self::Failed,
        }
    }
}

impl Exit {
    /// Returns the exit code of a command that answers a question.
    pub fn answer(yes: bool) -> Self {
        if yes { Self::Done } else { Self::No }
    }
}
