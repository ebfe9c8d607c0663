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
mod handshake;
mod listen;
mod login;
mod outgoing;
mod reader;
mod request;
mod server;
mod socket;
mod supervisor;
mod tls;
mod verifier;

pub use self::connection::{Connection, Identity};
pub use self::failure::protocol_error;
pub use self::handshake::{DedicatedConnection, Handshake, Protocol, ask_once};
pub use self::listen::{Beat, Listener};
pub use self::reader::{Frame, Framing, MAX_LINE, MAX_REPLY, ReplyLimit};
#[cfg(test)]
pub use self::reader::{hostile_bytes, receive_in_pieces};
pub use self::request::{PendingReply, RawReplies};
pub use self::server::Server;
pub use self::tls::Tls;
