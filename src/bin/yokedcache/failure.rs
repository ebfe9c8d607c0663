//! Why a command failed, and how that is told: a line for people, an object for programs.

use std::io::{self, ErrorKind as Io, Write};

use serde_json::json;
use yokedcache::error::Error;

use crate::exit::Exit;

/// Why a command did not do what it is for.
pub enum Failure {
    /// The cache says why.
    Cache(Error),
    /// What was asked for makes no sense.
    Usage(String),
    /// A file or a stream, and what happened to it.
    Stream(String, io::Error),
    /// Nobody reads the answer any more: `yokedcache keys | head`.
    Unread,
}

/// What a command gives.
pub type Result<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

impl Failure {
    /// What happened to a file or a stream.
    pub fn stream(name: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            Io::BrokenPipe => Self::Unread,
            _ => Self::Stream(name.to_owned(), error),
        }
    }

    /// Writes it to the standard error; what the program ends with.
    pub fn tell(&self, json: bool) -> Exit {
        match self {
            Self::Unread => return Exit::Done,
            Self::Cache(error) => write(json, &name(error), error.message(), self.exit()),
            Self::Usage(message) => write(json, "usage", message, self.exit()),
            Self::Stream(name, error) => write(json, "stream", &format!("{name}: {error}"), self.exit()),
        }
        self.exit()
    }

    /// What the program ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cache(error) => error.into(),
            Self::Usage(_) => Exit::Usage,
            Self::Stream(..) => Exit::Failed,
            Self::Unread => Exit::Done,
        }
    }
}

/// What the arguments come to where no command does: help, the version, or why they are refused.
pub fn refused(refusal: &clap::Error) -> Exit {
    if !refusal.use_stderr() {
        // Help that nobody reads is no failure.
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

/// The first paragraph, in one line: what follows is for people.
fn reason(text: &str) -> String {
    let paragraph = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The kind of an error as programs get it: `TooLarge` is `too_large`.
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
    // There is no other place to tell it.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A URL in the wrong place is repeated without its user and password.
fn without_credentials(text: &str) -> String {
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
