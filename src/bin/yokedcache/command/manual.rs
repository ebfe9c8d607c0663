//! `yokedcache man`: the manual page, one page for all commands, from the table that `--help` prints.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::arguments::Arguments;
use crate::failure::{Exit, Failure, Result};

/// Defines the apostrophe that the rendered text uses. `clap_mangen` writes it before each part; the page needs it once.
const APOSTROPHE: [&str; 2] = [r".ie \n(.g .ds Aq \(aq", ".el .ds Aq '"];

/// Writes the page to the standard output.
pub fn print() -> Result<Exit> {
    let unwritten = Failure::stream("standard output");
    page().and_then(|page| io::stdout().write_all(page.as_bytes())).map(|()| Exit::Done).map_err(unwritten)
}

/// Renders the page in roff.
fn page() -> io::Result<String> {
    let mut tool = Arguments::command().disable_help_subcommand(true);
    tool.build();
    let man = Man::new(tool.clone()).manual("YokedCache");
    let mut page = rendered(|to| man.render_title(to))?;
    page.push_str(&format!("{}\n", APOSTROPHE.join("\n")));
    page.push_str(&rendered(|to| {
        man.render_name_section(to)?;
        man.render_synopsis_section(to)?;
        man.render_description_section(to)?;
        man.render_options_section(to)
    })?);
    page.push_str(".SH COMMANDS\n");
    for command in tool.get_subcommands() {
        page.push_str(&section(command, &[])?);
    }
    // The notes are laid out in lines: they must not be filled.
    page.push_str(&rendered(|to| man.render_extra_section(to))?.replacen(".SH EXTRA", ".SH NOTES\n.nf", 1));
    page.push_str(".fi\n");
    Ok(page)
}

/// Renders a command, or the commands below it: its name, its arguments and what it does.
fn section(command: &Command, parents: &[&str]) -> io::Result<String> {
    let names = [parents, &[command.get_name()]].concat();
    let below: Vec<&Command> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    if !below.is_empty() {
        return below.into_iter().map(|below| section(below, &names)).collect();
    }
    let man = Man::new(without_common_options(command));
    let body = rendered(|to| {
        man.render_synopsis_section(to)?;
        to.write_all(b".PP\n")?;
        man.render_description_section(to)?;
        man.render_options_section(to)
    })?;
    // The examples are laid out in lines: they must not be filled.
    let examples = rendered(|to| man.render_extra_section(to))?.replacen(".SH EXTRA", ".PP\n.nf", 1);
    let body = format!("{body}{examples}.fi\n");
    let body = without(&body, |line| line.starts_with(".SH "));
    Ok(format!(".SS {}\n{body}", names.join(" ")))
}

/// Hides the options that every command has: the page lists them once.
fn without_common_options(command: &Command) -> Command {
    command.clone().mut_args(|argument| {
        let common = argument.is_global_set() || matches!(argument.get_id().as_str(), "help" | "version");
        argument.hide(common)
    })
}

fn rendered(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<String> {
    let mut bytes = Vec::new();
    render(&mut bytes)?;
    Ok(without(&String::from_utf8_lossy(&bytes), |line| APOSTROPHE.contains(&line)))
}

fn without(text: &str, unwanted: impl Fn(&str) -> bool) -> String {
    text.lines().filter(|line| !unwanted(line)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_page_begins_with_its_title_and_has_every_command_and_its_options() {
        let page = page().unwrap();
        assert!(page.starts_with(".TH yokedcache 1"), "{page}");
        for command in Arguments::command().get_subcommands() {
            let heading = format!(".SS {}", command.get_name());
            assert!(page.lines().any(|line| line.split(' ').take(2).eq(heading.split(' '))), "{heading}");
            let has_examples = command.get_after_help().is_some() || command.has_subcommands();
            assert!(has_examples, "{heading}");
        }
        for option in ["--resume-file", "--dry-run", "--watch", "--url"] {
            let bold = format!(r"\fB{}\fR", option.replace('-', r"\-"));
            assert!(page.contains(&bold), "{option}");
        }
        assert!(page.contains(".SH NOTES\n.nf\n"), "{page}");
    }
}
