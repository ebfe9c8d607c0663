//! Removes every entry, after a confirmation.

use std::io::{self, BufRead, IsTerminal, Write};

use yokedcache::error::ErrorKind;
use yokedcache::exec::blocking::{answer, wait};
use yokedcache::operation::Operation;

use super::check::servers;
use super::invalidate::say_removed;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::session::Session;

/// Removes every entry of the prefix.
pub fn flush(session: &mut Session, yes: bool) -> Result<Exit> {
    if !yes && !confirm(session)? {
        crate::output::remark(session.output.is_json(), "nothing was removed");
        return Ok(Exit::No);
    }
    let removed = answer(session.cache.call(Operation::Flush { count: true }))?.removed();
    say_removed(session, removed)?;
    Ok(Exit::Done)
}

fn confirm(session: &Session) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "flush asks for confirmation on a terminal, and standard input is not one: give --yes".to_owned(),
        ));
    }
    let question =
        format!("Remove {} of prefix {} on {}? Type yes: ", count(session)?, session.config.key_prefix, place(session));
    let mut line = String::new();
    let asked = io::stderr().write_all(question.as_bytes());
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut line));
    read.map_err(|error| Failure::Stream("the terminal".to_owned(), error))?;
    Ok(line.trim().eq_ignore_ascii_case("yes"))
}

fn count(session: &Session) -> Result<String> {
    match wait(session.cache.usage()) {
        Ok(usage) if usage.estimated => Ok(format!("all entries (about {})", usage.keys)),
        Ok(usage) => Ok(format!("all entries ({})", usage.keys)),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Ok("all entries (this backend cannot count them)".to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

fn place(session: &Session) -> String {
    let servers = servers(&session.config.backend);
    format!("{} {}", session.config.backend.name().text(), servers.join(", ")).trim_end().to_owned()
}
