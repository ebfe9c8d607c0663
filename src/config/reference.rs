//! The table of options as Markdown: for the README, and for the configuration page of the guide.

use super::option::{Row, Scope};
#[cfg(test)]
use super::table::OPTIONS;
use super::table::with_scope;

/// The sections of the guide, with a sentence each.
const SECTIONS: [(&[Scope], &str, &str); 10] = [
    (&[Scope::Every], "Every backend", "In the section of the backend."),
    (&[Scope::Memory], "Section `memory`", "Limits of the store in this process."),
    (&[Scope::Redis], "Section `redis`", "Servers, user and invalidation."),
    (
        &[Scope::Memcached],
        "Section `memcached`",
        "Servers, user and distribution of keys. The option `events` names Redis servers that carry the channels and the \
         events, which Memcached does not have: `events: redis://host`, or a map with `backend: redis` and the section `redis`.",
    ),
    (
        &[Scope::Remote],
        "Connections and TLS",
        "In section `redis` or `memcached`. Paths name files, which are read when a connection is made.",
    ),
    (
        &[Scope::Near],
        "`near`",
        "In section `redis` or `memcached`: the process keeps copies of entries, and reads them without a request. \
         `near: true`, or a time, which is the `max_staleness`, is the short form. The page Near \
         cache describes it.",
    ),
    (
        &[Scope::Fallback],
        "`fallback`",
        "Next to `backend`, for `redis` and `memcached`. A map has these options, a `backend` (default `memory`) and the \
         section of that backend. `fallback: memory` or a URL is the short form.",
    ),
    (&[Scope::Migration], "Options of a migration", "A document of their own, for `yc_migrate`."),
    (&[Scope::Switch], "Options of a switch", "A document of their own, for `yc_switch`."),
    (
        &[Scope::View],
        "Options of a view",
        "A document of their own, for `yc_view`. An option that is not given is that of the cache.",
    ),
];

/// Returns a table of all options, for tests.
#[cfg(test)]
pub(super) fn reference() -> String {
    let head = "| option | section | takes | default | variable | meaning |\n|---|---|---|---|---|---|\n";
    head.to_owned() + &OPTIONS.iter().map(line).collect::<String>()
}

/// Returns the line of an option in that table.
#[cfg(test)]
pub(super) fn line(row: &Row) -> String {
    let names = format!("`{}`", row.names().collect::<Vec<_>>().join("`, `"));
    let [variable, default] = [row.variable.unwrap_or_default(), row.default].map(code);
    format!("| {names} | {} | {} | {default} | {variable} | {} |\n", section(row.scope), row.kind.accepts(), row.about)
}

#[cfg(test)]
fn section(scope: Scope) -> &'static str {
    match scope {
        Scope::Every => "every",
        Scope::Memory => "memory",
        Scope::Redis => "redis",
        Scope::Memcached => "memcached",
        Scope::Remote => "redis, memcached",
        Scope::Near => "near",
        Scope::Fallback => "fallback",
        Scope::Migration => "of a migration",
        Scope::Switch => "of a switch",
        Scope::View => "of a view",
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Returns the options for the guide, by section.
pub fn guide() -> String {
    let sections = SECTIONS.map(|(scopes, title, about)| {
        let head = "| option | type | range | default | meaning | example |\n|---|---|---|---|---|---|\n";
        let rows: String = with_scope(scopes).map(guide_line).collect();
        format!("## {title}\n\n{about}\n\n{head}{rows}")
    });
    sections.join("\n")
}

fn guide_line(row: &Row) -> String {
    let Row { kind, about, .. } = row;
    let [name, default, example] = [row.name(), row.default, row.example].map(code);
    let aliases: Vec<String> = row.names().skip(1).map(code).collect();
    let aliases = if aliases.is_empty() { String::new() } else { format!(" Alias: {}.", aliases.join(", ")) };
    let variable = row.variable.map_or_else(String::new, |variable| format!(" Variable: `{variable}`."));
    let (unit, range) = (kind.type_name(), kind.range());
    format!("| {name} | {unit} | {range} | {default} | {about}{aliases}{variable} | {example} |\n")
}
