//! YAML or JSON text as a tree of nodes, within limits that no hostile text can stretch.

use std::borrow::Cow;
use std::fmt;
use std::thread;

use serde_core::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{DuplicateKeyPolicy, MessageFormatter, Options, Spanned, UserMessageFormatter};

use super::message::{self, refused};
use crate::error::{Error, Result};

/// The longest URL or document accepted, in bytes: far over any real one, and small enough that parsing stays quick.
pub(super) const MAX_TEXT_BYTES: usize = 256 * 1024;

/// The texts that are accepted, for messages about another one.
pub(super) const ACCEPTED: &str =
    "a URL such as `memory://?max_size=1000`, or YAML or JSON such as `{backend: memory}`";

/// The content of a document at one place. No `Debug`: it may be a password.
#[derive(Clone)]
pub(super) enum Node {
    Empty,
    Boolean(bool),
    /// Kept as digits, so that no number loses precision before its option's kind is known.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// A name and its content.
#[derive(Clone)]
pub(super) struct Field {
    pub name: String,
    pub place: Place,
    pub node: Node,
}

/// The place of a field.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// The start of its name, from 1.
    Document { line: u64, column: u64 },
    /// After the `?` of a URL.
    Parameter,
    /// Before the `?` of a URL: no message repeats it, for a password that lacks its `%` may be cut anywhere.
    Address,
}

impl Field {
    /// Returns true for null in a document: the option counts as not given.
    pub(super) fn is_null(&self) -> bool {
        matches!((&self.node, self.place), (Node::Empty, Place::Document { .. }))
    }

    /// Returns the name and its place, for messages.
    pub(super) fn label(&self) -> String {
        self.labelled(message::name(&self.name))
    }

    /// Returns the label of an unknown name: one without a value may be a password that lost its own name.
    pub(super) fn doubtful_label(&self) -> String {
        match self.node {
            Node::Empty => self.labelled("without a value".to_owned()),
            _ => self.label(),
        }
    }

    fn labelled(&self, name: String) -> String {
        match self.place {
            Place::Document { line, column } => format!("{name} (line {line}, column {column})"),
            Place::Parameter => name,
            Place::Address => format!("{name} (in the URL)"),
        }
    }
}

impl Node {
    /// Describes the content, for messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Node::Boolean(value) => format!("the boolean {value}"),
            Node::Number(digits) => format!("the number {}", message::shortened(digits)),
            Node::Text(text) => message::quoted(text),
            other => other.kind().to_owned(),
        }
    }

    /// Describes the kind of the content, for messages that may not repeat it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Empty => "nothing",
            Node::Boolean(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::Text(text) if text.is_empty() => "an empty text",
            Node::Text(_) => "this text",
            Node::List(_) => "a list",
            Node::Map(_) => "a map",
        }
    }
}

/// Refuses a text that is empty or too long.
pub(super) fn check_text(text: &str) -> Result<()> {
    check_length(text.len())?;
    if text.trim().is_empty() {
        return Err(refused(format!("the configuration is empty; it takes {ACCEPTED}")));
    }
    Ok(())
}

/// Refuses a text that is too long.
pub(super) fn check_length(bytes: usize) -> Result<()> {
    if bytes > MAX_TEXT_BYTES {
        return Err(refused("the configuration is longer than the 256 KiB accepted"));
    }
    Ok(())
}

/// Twice the 512 KiB that a debug build was seen to need (a release build: 64 KiB), and that for a deeper document.
const PARSER_STACK_BYTES: usize = 1 << 20;

/// Parses one document, on a thread of its own: a caller's stack may be smaller than the parser needs.
pub(super) fn parse(text: &str) -> Result<Node> {
    // No scope: it keeps a handle of the caller's thread, which a leak checker of the caller's program finds.
    let text = text.to_owned();
    let parser = thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn(move || parse_here(&text));
    let parser = parser.map_err(|error| refused(format!("cannot start a thread to parse the document: {error}")))?;
    parser.join().unwrap_or_else(|_| Err(refused("the document makes the parser fail")))
}

fn parse_here(text: &str) -> Result<Node> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| unreadable(&error))
}

/// Names and values keep their spelling; whatever could be dropped in silence is refused.
fn options() -> Options {
    serde_saphyr::options! {
        budget: budget(),
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 100,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        underscored_numbers_as_strings: true,
        leading_zero_numbers_as_strings: true,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// A hundred times what a large configuration needs, and still parsed in milliseconds.
fn budget() -> Option<serde_saphyr::Budget> {
    serde_saphyr::budget! {
        flow_nesting_limit: 10,
        max_depth: 10,
        max_documents: 2,
        max_events: 20_000,
        max_nodes: 10_000,
        max_anchors: 100,
        max_aliases: 100,
        max_merge_keys: 100,
        max_recorded_anchor_events: 10_000,
        max_recorded_anchor_bytes: 1 << 20,
        max_total_scalar_bytes: 1 << 20,
    }
}

fn unreadable(error: &serde_saphyr::Error) -> Error {
    refused(format!("the document cannot be read as YAML or JSON: {}", error.render_with_formatter(&Discreet)))
}

/// The parser's words for people, less what they repeat of the document, which may hold a password.
struct Discreet;

impl MessageFormatter for Discreet {
    fn format_message<'a>(&self, error: &'a serde_saphyr::Error) -> Cow<'a, str> {
        match error {
            // A password that starts with `!` and lacks its quotes reads as a tag.
            serde_saphyr::Error::UnsupportedTag { .. } => "a tag is not accepted; a text with `!` needs quotes".into(),
            serde_saphyr::Error::DuplicateMappingKey { key: Some(name), .. } => {
                format!("{} is given twice", message::quoted(name)).into()
            }
            _ => UserMessageFormatter.format_message(error),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! visit_scalars {
    ($($visit:ident: $given:ty => $node:path;)*) => {
        $(fn $visit<E>(self, value: $given) -> std::result::Result<Node, E> { Ok($node(value)) })*
    };
}

fn number(value: impl ToString) -> Node {
    Node::Number(value.to_string())
}

fn text(value: &str) -> Node {
    Node::Text(value.to_owned())
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a map, a list, a text, a number or a boolean")
    }

    visit_scalars! {
        visit_bool: bool => Node::Boolean;
        visit_i64: i64 => number; visit_i128: i128 => number; visit_u64: u64 => number; visit_u128: u128 => number;
        visit_f64: f64 => number;
        visit_str: &str => text;
    }

    fn visit_unit<E>(self) -> std::result::Result<Node, E> {
        Ok(Node::Empty)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, node)) = map.next_entry::<Spanned<String>, Node>()? {
            let place = Place::Document { line: name.referenced.line(), column: name.referenced.column() };
            fields.push(Field { name: name.value, place, node });
        }
        Ok(Node::Map(fields))
    }
}
