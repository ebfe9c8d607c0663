//! Commands of the caller's choice as data, and their replies.

/// A command for a backend whose servers have commands of their own.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The name of the command and its arguments.
    pub args: &'a [&'a [u8]],
    /// The position in `args` of a key, which decides the server of a cluster that runs the command.
    pub key: Option<usize>,
    /// True if the command may be sent again when its reply was lost.
    pub is_idempotent: bool,
}

/// The reply of a server to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// No value.
    Nil,
    /// A short text such as OK.
    Status(Box<[u8]>),
    /// The text of an error, as an element of an array. An error that is the whole reply is the error of the call.
    Error(Box<[u8]>),
    /// A whole number.
    Integer(i64),
    /// Bytes.
    String(Box<[u8]>),
    /// Replies in their order.
    Array(Vec<Reply>),
}
