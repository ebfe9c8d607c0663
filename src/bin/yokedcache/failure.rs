//! Defines the exit codes, and describes failures of commands: a line for people, an object for programs.

use std::io::{self, ErrorKind as Io, Write};
use std::process::ExitCode;

use serde_json::json;
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
    /// A signal ended the command before its end.
    Interrupted = 130,
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

/// The reason why a command failed.
pub enum Failure {
    /// An error of the cache.
    Cache(Error),
    /// Wrong usage.
    Usage(String),
    /// The name of a file or stream, and its error.
    Stream(String, io::Error),
    /// The reader of the output has gone: `yokedcache keys | head`.
    Unread,
}

/// The result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

impl Failure {
    /// Returns a conversion of errors of a file or stream.
    pub fn stream(name: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            Io::BrokenPipe => Self::Unread,
            _ => Self::Stream(name.to_owned(), error),
        }
    }

    /// Writes the failure to the standard error and returns the exit code.
    pub fn tell(&self, json: bool) -> Exit {
        match self {
            Self::Unread => return Exit::Done,
            Self::Cache(error) => write(json, &name(error), error.message(), self.exit()),
            Self::Usage(message) => write(json, "usage", message, self.exit()),
            Self::Stream(name, error) => write(json, "stream", &format!("{name}: {error}"), self.exit()),
        }
        self.exit()
    }

    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cache(error) => error.into(),
            Self::Usage(_) => Exit::Usage,
            Self::Stream(..) => Exit::Failed,
            Self::Unread => Exit::Done,
        }
    }
}

/// Prints help, the version, or the reason why the arguments are refused, and returns the exit code.
pub fn refused(refusal: &clap::Error) -> Exit {
    if !refusal.use_stderr() {
        // A reader that has gone is not a failure.
        let _ = refusal.print();
        return Exit::Done;
    }
    let text = without_credentials(&refusal.render().to_string());
    if std::env::args_os().any(|argument| argument == "--json") {
        write(true, "usage", &reason(&text), Exit::Usage);
    } else {
        let _ = io::stderr().write_all(text.as_bytes());
    }
    Exit::Usage
}

/// Returns the first paragraph in one line: the rest is for people.
fn reason(text: &str) -> String {
    let paragraph = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the kind of an error for programs: `TooLarge` is `too_large`.
pub fn name(error: &Error) -> String {
    let camel = format!("{:?}", error.kind());
    let snake = camel
        .chars()
        .flat_map(|letter| letter.is_ascii_uppercase().then_some('_').into_iter().chain([letter.to_ascii_lowercase()]));
    snake.skip(1).collect()
}

fn write(json: bool, name: &str, message: &str, exit: Exit) {
    let line = match json {
        true => json!({ "error": name, "message": message, "exit_code": exit as u8 }).to_string(),
        false => format!("yokedcache: {message}"),
    };
    // A failure to write here cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Removes user and password from URLs in a text.
pub fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let start = parts.next().unwrap_or_default().to_owned();
    parts.fold(start, |shown, part| {
        let word = part.split_whitespace().next().unwrap_or_default();
        let rest = word.rfind('@').map_or(part, |at| part.split_at(at).1);
        let hidden = if rest.len() < part.len() { "…" } else { "" };
        format!("{shown}://{hidden}{rest}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use yokedcache::error::ErrorKind;

    #[test]
    fn a_kind_is_named_in_small_letters() {
        for (kind, expected) in [(ErrorKind::Connect, "connect"), (ErrorKind::TooLarge, "too_large")] {
            assert_eq!(name(&Error::new(kind, "")), expected);
        }
    }

    #[test]
    fn user_and_password_of_a_url_are_not_repeated() {
        for (text, shown) in [
            ("'redis://u:p@w@host/0' is unknown", "'redis://…@host/0' is unknown"),
            ("a://b c://u:p@d e@f", "a://b c://…@d e@f"),
            ("no URL, me@home", "no URL, me@home"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
