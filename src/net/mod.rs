//! Connections to servers: pipelined, bounded and supervised.
//!
//! Requests of all callers share a connection; replies come in the order of the requests. Blocked callers use
//! leader/follower: one of them, the leader, sends queued requests and reads the replies of all, and then hands over
//! to another. The connection's own task in the runtime leads for callers that are tasks.
//!
//! ```text
//! Server (supervisor, in-flight in_flight)  →  Connection (driver)  →  Socket (bytes, TLS)
//!         dial, handshake                    Framing of a protocol
//! ```

mod connection;
mod dial;
mod driver;
mod failure;
mod framing;
mod identity;
mod outgoing;
mod reader;
mod request;
mod server;
mod socket;
mod tls;
mod verifier;
mod version_one;

pub use self::connection::Connection;
pub use self::failure::protocol_error;
pub use self::framing::{Frame, Framing, MAX_LINE, ReplyLimit};
pub use self::identity::Identity;
#[cfg(test)]
pub use self::reader::{hostile_bytes, receive_in_pieces};
pub use self::request::{PendingReply, RawReplies};
pub use self::server::{DedicatedConnection, Handshake, Protocol, Server, ask_once};
pub use self::tls::Tls;
