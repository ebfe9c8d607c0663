//! Tests the table of options: its aliases, its reference, its defaults and its examples.

use super::*;

#[test]
fn an_alias_is_the_option_and_giving_both_is_refused() {
    let kind = option::Kind::Count(1..=9, |options| &mut options.memory.max_size);
    let row = option::row(Scope::Redis, "pool_size max_connections", kind, "3", "", "").or_variable("POOL");
    let field = |name: &str, text: &str| Field {
        name: name.to_owned(),
        place: Place::Parameter,
        node: Node::Text(text.to_owned()),
    };
    let filled = |fields: &[Field]| {
        let mut options = Options::default();
        row.fill(&mut options, fields, &variables(&[("POOL", "")])).map(|()| options.memory.max_size)
    };
    assert_eq!(filled(&[]).unwrap(), 3);
    assert_eq!(filled(&[field("pool_size", "4")]).unwrap(), 4);
    assert_eq!(filled(&[field("max_connections", "5")]).unwrap(), 5);
    let both = filled(&[field("max_connections", "5"), field("pool_size", "5")]).unwrap_err();
    assert_says(&both, ErrorKind::Config, &["given twice: \"max_connections\" and \"pool_size\""], "both");
    assert!(reference::line(&row).starts_with("| `pool_size`, `max_connections` | redis |"));
}

#[test]
fn the_reference_has_a_line_for_every_option() {
    let reference = reference();
    for name in table::names() {
        let (first, later) = (format!("| `{name}`"), format!(", `{name}`"));
        let lines = reference.lines().filter(|line| {
            let names = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
            format!("| {names}").starts_with(&first) || names.contains(&later)
        });
        let is_nested = name == "near";
        assert!(lines.count() > 0 || is_nested, "{name}");
    }
    let columns = reference.lines().map(|line| line.matches('|').count());
    assert!(columns.clone().all(|count| count == 7), "{reference}");
    assert!(reference.contains("| `max_size` | memory | a whole number from 0 to 4000000000 | `10000` |  | Entries"));
}

#[test]
fn every_option_is_accepted_as_its_own_default() {
    for line in reference().lines().skip(2) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let (names, sections, default) = (cells[0].trim_start_matches("| "), cells[1], cells[3].trim_matches('`'));
        if sections == "of a migration" || sections == "of a switch" {
            continue;
        }
        for section in if sections == "every" { "memory, redis, memcached" } else { sections }.split(", ") {
            for name in names.split(", ").map(|name| name.trim_matches('`')).filter(|_| !default.is_empty()) {
                let tls = if name.starts_with("ssl_") { "ssl: true" } else { "" };
                let (backend, inner) = match section {
                    "fallback" => ("redis", "backend: memory"),
                    "near" => ("redis", "max_staleness: 1s"),
                    _ => (section, tls),
                };
                let body = |given: &str| match section {
                    "near" => format!("backend: redis\nredis:\n  near:\n    {given}\n    {inner}\n"),
                    _ => format!("backend: {backend}\n{section}:\n  {given}\n  {inner}\n"),
                };
                let (plain, given) = (body(""), body(&format!("{name}: {default}")));
                let without_notes = |text: &str| Config { notes: Vec::new(), ..read(text) };
                assert_eq!(without_notes(&given), without_notes(&plain), "{given}");
            }
        }
    }
}

#[test]
fn every_option_is_accepted_as_its_example_which_differs_from_the_default() {
    let set = variables(&[("CACHE_PASSWORD", "p"), ("SENTINEL_PASSWORD", "p")]);
    for row in table::OPTIONS {
        let section = if row.scope == Scope::Memcached { "memcached" } else { "redis" };
        let (name, example) = (row.name(), row.example);
        if row.kind.is_opened_before() {
            read(&format!("backend: {section}\n{section}:\n  {name}: {example}\n"));
            continue;
        }
        let Node::Map(mut fields) = document::parse(&format!("{name}: {example}")).unwrap() else { panic!("{name}") };
        environment::resolve(&mut fields, &set).unwrap();
        let filled = |fields: &[Field]| {
            let mut options = Options::default();
            row.fill(&mut options, fields, &none).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            options
        };
        assert!(filled(&fields) != filled(&[]), "{name}: {example}");
    }
}

// Variables.
