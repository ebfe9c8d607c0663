//! The identity of the process that answers on a connection, as the handshake learned it.

/// The process that answers, and the history of writes that its data continues. Both are hashes, to be compared only
/// for equality. A server that does not report them counts as another one on each connection: that costs work, and
/// hides no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// The process: it changes with each start of the server.
    pub process: u64,
    /// The history of its data: a replica that becomes the primary, or that took over another's data, has another.
    pub history: u64,
    /// True if the server reported both.
    pub told: bool,
}
