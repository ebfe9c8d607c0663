//! The identity of the process that answers on a connection, as the handshake learned it.

/// Which process answers, and which history of writes its data continues. Both are hashes, to be compared for equality
/// alone. A server that does not say is another one on each connection: that costs work, and hides no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// The process: it changes with each start of the server.
    pub process: u64,
    /// The history of its data: a replica that becomes the primary, or that took over another's data, has another.
    pub history: u64,
    /// Whether the server said both.
    pub told: bool,
}
