//! The handshake of a new connection: credentials, and a check that the server understands the protocol.
//!
//! A server that does not know the meta protocol would run a value as commands, so nothing is stored before a probe was
//! answered correctly.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::clock::{Reading, ServerClock};
use super::command::{Command, Reply};
use super::protocol::binary::{self, Packet, Parts, opcode};
use super::protocol::{Codec, statistics_of, statistics_request};
use super::server_error::{self, ServerError};
use super::server_info::ServerInfo;
use crate::config::Address;
use crate::credentials::{CredentialSource, Credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Framing, Handshake, Protocol};
use crate::util::clock::unix_millis;

/// The bytes that a stored form may have beyond the largest value: its key and its tags.
pub const HEADER_ROOM: u64 = 128 * 1024;
/// A request for a name, to check the reply.
const PROBE: Command = Command::Get { name: b"yokedcache:probe" };
const PROBE_NUMBER: u32 = 0xC0DE;

/// The largest write over TLS: Memcached 1.6.18 waits forever for bytes that it has already decrypted, unless a record ends where a
/// command ends: requests of no more than one record keep to that.
pub const RECORD: usize = 16 * 1024;

/// The protocol of Memcached, as connections to one server use it.
pub struct Memcached {
    pub address: Address,
    pub codec: Codec,
    pub credentials: Arc<CredentialSource>,
    pub max_value_bytes: u64,
    pub info: Arc<ServerInfo>,
    pub clock: Arc<ServerClock>,
}

impl Protocol for Memcached {
    fn framing(&self) -> Box<dyn Framing> {
        self.codec.framing(self.max_value_bytes.saturating_add(HEADER_ROOM))
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Address>> {
        Box::pin(async { Ok(self.address.clone()) })
    }

    fn credentials(&self) -> Option<&CredentialSource> {
        Some(&self.credentials)
    }

    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.codec {
                Codec::Meta => text_handshake(connection).await?,
                Codec::Binary => binary_handshake(connection).await?,
            }
            probe(connection, self.codec).await?;
            let asked = unix_millis();
            let general = connection.ask(&statistics_request(self.codec, "")).await?;
            if let Some(reading) = Reading::of(&statistics_of(self.codec, &general), asked) {
                self.clock.learn(&reading);
            }
            // Last: once the limits are known, the clock is too.
            let settings = connection.ask(&statistics_request(self.codec, "settings")).await?;
            self.info.learn(&statistics_of(self.codec, &settings));
            Ok(())
        })
    }

    fn record_limit(&self) -> Option<usize> {
        Some(RECORD)
    }

    fn ping(&self) -> &'static [u8] {
        self.codec.ping()
    }
}

async fn text_handshake(connection: &Handshake<'_>) -> Result<()> {
    log_in_with_text(connection).await?;
    let version = connection.ask(b"version\r\n").await?;
    let Some(version) = version.strip_prefix(b"VERSION ") else { return Err(refused(connection, &version)) };
    let answer = connection.ask(b"mn\r\n").await?;
    if answer == b"MN\r\n" { Ok(()) } else { Err(too_old(connection.server(), version)) }
}

/// Sends the credentials, if the server asks for them: one that does not would store them.
pub async fn log_in_with_text(connection: &Handshake<'_>) -> Result<()> {
    let Some(credentials) = connection.credentials() else { return Ok(()) };
    let asked = connection.ask(b"mn\r\n").await?;
    match server_error_of(&asked) {
        Some(ServerError::Credentials) => {}
        Some(_) => return Err(refused(connection, &asked)),
        None => {
            note_needless(connection.server());
            return Ok(());
        }
    }
    let line = format!("{} {}", user_of(connection.server(), &credentials)?, credentials.password.expose());
    let request = format!("set yokedcache 0 0 {}\r\n{line}\r\n", line.len());
    let answer = connection.ask(request.as_bytes()).await?;
    if answer == b"STORED\r\n" { Ok(()) } else { Err(refused_login(connection.server(), &answer)) }
}

/// Returns the user. A configuration has one; a callback may supply none.
fn user_of<'a>(server: &str, credentials: &'a Credentials) -> Result<&'a str> {
    credentials.username.as_deref().ok_or_else(|| {
        Error::new(
            ErrorKind::Auth,
            format!("{server}: the callback supplied a password without a username: supply both"),
        )
    })
}

async fn binary_handshake(connection: &Handshake<'_>) -> Result<()> {
    if let Some(credentials) = connection.credentials() {
        let text = format!("\0{}\0{}", user_of(connection.server(), &credentials)?, credentials.password.expose());
        let parts = Parts { key: b"PLAIN", value: text.as_bytes(), ..Parts::default() };
        match ask_packet(connection, opcode::SASL_START, &parts).await? {
            0 => {}
            status if ServerError::of_status(status) == ServerError::Command => note_needless(connection.server()),
            _ => return Err(refused_login(connection.server(), b"refused")),
        }
    }
    for operation in [opcode::VERSION, opcode::NO_OPERATION] {
        accepted(connection, ask_packet(connection, operation, &Parts::default()).await?)?;
    }
    Ok(())
}

/// Sends a packet; returns the status of the reply.
async fn ask_packet(connection: &Handshake<'_>, operation: u8, parts: &Parts<'_>) -> Result<u16> {
    let mut request = Vec::new();
    binary::packet(&mut request, operation, parts);
    let answer = connection.ask(&request).await?;
    let packet = Packet::take(&mut &*answer).filter(|packet| packet.opcode == operation && packet.opaque == 0);
    packet
        .map(|packet| packet.status)
        .ok_or_else(|| crate::net::protocol_error(connection.server(), "a reply to another request"))
}

fn accepted(connection: &Handshake<'_>, status: u16) -> Result<()> {
    match status {
        0 => Ok(()),
        other => Err(handshake_error(connection.server(), ServerError::of_status(other), b"refused")),
    }
}

/// Sends a request for a name, and checks that number and name come back.
async fn probe(connection: &Handshake<'_>, codec: Codec) -> Result<()> {
    let mut request = Vec::new();
    codec.write(&mut request, PROBE_NUMBER, &PROBE);
    let answer = connection.ask(&request).await?;
    match codec.read(&mut &*answer, PROBE_NUMBER, &PROBE) {
        Ok(Reply::Missing | Reply::Value { .. }) => Ok(()),
        Ok(Reply::Refused(server_error, text)) => Err(handshake_error(connection.server(), server_error, text)),
        _ => Err(no_echo(connection.server())),
    }
}

/// Returns the error that a line reports, if any.
pub fn server_error_of(line: &[u8]) -> Option<ServerError> {
    let refuses = [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"].iter().any(|word| line.starts_with(word));
    refuses.then(|| ServerError::of_line(line))
}

fn refused(connection: &Handshake<'_>, line: &[u8]) -> Error {
    handshake_error(connection.server(), ServerError::of_line(line), line)
}

#[cold]
fn handshake_error(server: &str, server_error: ServerError, text: &[u8]) -> Error {
    let text = text.trim_ascii_end();
    match server_error {
        ServerError::Credentials => asks_for_credentials(server),
        other => server_error::error(server, other, text),
    }
}

#[cold]
fn refused_login(server: &str, answer: &[u8]) -> Error {
    server_error::error(server, ServerError::Credentials, answer.trim_ascii_end())
}

#[cold]
fn asks_for_credentials(server: &str) -> Error {
    Error::new(ErrorKind::Auth, format!("{server}: the server requires credentials: set username and password"))
}

#[cold]
fn note_needless(server: &str) {
    tracing::warn!(server, "the server requires no credentials: the configured ones were not used; remove them");
}

#[cold]
fn too_old(server: &str, version: &[u8]) -> Error {
    let version = server_error::shown(version);
    let text = format!(
        "{server}: version {version} does not speak the meta protocol: use memcached 1.6.10 or newer, or set `binary: true`"
    );
    Error::new(ErrorKind::Unsupported, text)
}

#[cold]
fn no_echo(server: &str) -> Error {
    let text = format!(
        "{server}: a request's number and name do not come back with its reply, so that replies cannot be distinguished: memcached 1.6.10 or newer is needed, and no proxy that changes requests"
    );
    Error::new(ErrorKind::Unsupported, text)
}
