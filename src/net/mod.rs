//! Connections to servers: pipelined, bounded, supervised; led by the callers themselves.
//!
//! Requests of all callers share a connection; replies come in the order of
//! the requests. Whoever waits may lead: one blocked caller sends what is
//! queued and reads the replies of all, then hands over to another. Tasks are
//! led for by the connection's own task in the runtime.
//!
//! ```text
//! Server (supervisor, limits)  →  Connection (driver)  →  Socket (bytes, TLS)
//!         dial                     Framing of a protocol
//! ```

mod answer;
mod connection;
mod dial;
mod driver;
mod failure;
mod framing;
mod identity;
mod limits;
mod outgoing;
mod reader;
mod server;
mod socket;
mod tls;
mod verifier;
mod version_one;

pub use self::answer::{PendingReply, RawReplies};
pub use self::connection::Connection;
pub use self::failure::protocol_error;
pub use self::framing::{Frame, Framing, MAX_LINE, ReplyLimit};
pub use self::identity::Identity;
#[cfg(test)]
pub use self::reader::{hostile_bytes, receive_in_pieces};
pub use self::server::{DedicatedConnection, Handshake, Protocol, Server, ask_once};
pub use self::tls::Tls;
