//! The command-line tool `yokedcache`: inspects and changes a cache.

mod arguments;
mod bytes;
mod command;
mod examples;
mod failure;
mod human;
mod interrupt;
mod output;
mod session;
mod source;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => {
            let json = arguments.json;
            command::run(arguments).unwrap_or_else(|failure| failure.tell(json)).into()
        }
        Err(refusal) => failure::refused(&refusal).into(),
    }
}
