//! `completions`: the completion of commands, options and their values in a shell, from the table that `--help` prints.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::arguments::Arguments;
use crate::failure::{Exit, Failure, Result};

/// Writes the completion script of a shell to the standard output.
pub fn print(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "yokedcache", &mut script);
    io::stdout().write_all(&script).map(|()| Exit::Done).map_err(Failure::stream("standard output"))
}
