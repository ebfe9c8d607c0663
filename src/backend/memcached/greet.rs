//! What a new connection says first: who it is, and whether the server understands what will be written to it.
//!
//! A server that does not know the meta protocol would run a value as commands,
//! so that nothing is stored before a request was answered as it should be.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::binary::{self, BinaryFraming, Packet, Parts, opcode};
use super::clock::{Reading, ServerClock};
use super::command::{Codec, Command, Reply};
use super::meta::MetaFraming;
use super::refusal::{self, Refusal};
use super::statistics;
use super::traits::Traits;
use crate::clock::unix_millis;
use crate::config::{Address, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Framing, Handshake, Protocol};

/// How long a stored form may be beyond the largest value: its key, its tags.
pub const HEADER_ROOM: u64 = 128 * 1024;
/// A name that is asked for, to see the answer.
const PROBE: Command = Command::Get { name: b"yokedcache:probe" };
const PROBE_NUMBER: u32 = 0xC0DE;

/// Over TLS, Memcached 1.6.18 waits for ever for bytes that it has already decrypted, unless a record ends where a
/// command ends: requests of no more than one record keep to that.
pub const RECORD: usize = 16 * 1024;
/// A packet that asks for nothing.
pub const NO_OPERATION: &[u8] =
    &[0x80, opcode::NO_OPERATION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Who connects.
#[derive(Clone)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// How a Memcached server is connected to.
pub struct Memcached {
    pub address: Address,
    pub protocol: Codec,
    pub login: Login,
    pub max_value_bytes: u64,
    pub traits: Arc<Traits>,
    pub clock: Arc<ServerClock>,
}

impl Protocol for Memcached {
    fn framing(&self) -> Box<dyn Framing> {
        let max_value = self.max_value_bytes.saturating_add(HEADER_ROOM);
        match self.protocol {
            Codec::Meta => Box::new(MetaFraming::new(max_value)),
            Codec::Binary => Box::new(BinaryFraming::new(max_value)),
        }
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Address>> {
        Box::pin(async { Ok(self.address.clone()) })
    }

    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.protocol {
                Codec::Meta => greet_in_text(connection, &self.login).await?,
                Codec::Binary => greet_in_binary(connection, &self.login).await?,
            }
            probe(connection, self.protocol).await?;
            let asked = unix_millis();
            let general = connection.ask(&statistics::request(self.protocol, "")).await?;
            if let Some(reading) = Reading::of(&statistics::read(self.protocol, &general), asked) {
                self.clock.learn(&reading);
            }
            // Last: once the limits are known, the clock is too.
            let settings = connection.ask(&statistics::request(self.protocol, "settings")).await?;
            self.traits.learn(&statistics::read(self.protocol, &settings));
            Ok(())
        })
    }

    fn record_limit(&self) -> Option<usize> {
        Some(RECORD)
    }

    fn ping(&self) -> &'static [u8] {
        match self.protocol {
            Codec::Meta => b"mn\r\n",
            Codec::Binary => NO_OPERATION,
        }
    }
}

async fn greet_in_text(connection: &Handshake<'_>, login: &Login) -> Result<()> {
    log_in_with_text(connection, login).await?;
    let version = connection.ask(b"version\r\n").await?;
    let Some(version) = version.strip_prefix(b"VERSION ") else { return Err(refused(connection, &version)) };
    let answer = connection.ask(b"mn\r\n").await?;
    if answer == b"MN\r\n" { Ok(()) } else { Err(too_old(connection.server(), version)) }
}

/// Sends the credentials, if the server asks for them: one that does not would store them.
pub async fn log_in_with_text(connection: &Handshake<'_>, login: &Login) -> Result<()> {
    let (Some(user), Some(password)) = (&login.username, &login.password) else { return Ok(()) };
    let asked = connection.ask(b"mn\r\n").await?;
    match refusal_of(&asked) {
        Some(Refusal::Credentials) => {}
        Some(_) => return Err(refused(connection, &asked)),
        None => {
            note_needless(connection.server());
            return Ok(());
        }
    }
    let credentials = format!("{user} {}", password.expose());
    let request = format!("set yokedcache 0 0 {}\r\n{credentials}\r\n", credentials.len());
    let answer = connection.ask(request.as_bytes()).await?;
    if answer == b"STORED\r\n" { Ok(()) } else { Err(refused_login(connection.server(), &answer)) }
}

async fn greet_in_binary(connection: &Handshake<'_>, login: &Login) -> Result<()> {
    if let (Some(user), Some(password)) = (&login.username, &login.password) {
        let credentials = format!("\0{user}\0{}", password.expose());
        let parts = Parts { key: b"PLAIN", value: credentials.as_bytes(), ..Parts::default() };
        match ask_packet(connection, opcode::SASL_START, &parts).await? {
            0 => {}
            status if Refusal::of_status(status) == Refusal::Command => note_needless(connection.server()),
            _ => return Err(refused_login(connection.server(), b"refused")),
        }
    }
    for operation in [opcode::VERSION, opcode::NO_OPERATION] {
        accepted(connection, ask_packet(connection, operation, &Parts::default()).await?)?;
    }
    Ok(())
}

/// The status of the answer to a packet.
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
        other => Err(refusal_in_greeting(connection.server(), Refusal::of_status(other), b"refused")),
    }
}

/// Asks for a name, and whether number and name come back.
async fn probe(connection: &Handshake<'_>, protocol: Codec) -> Result<()> {
    let mut request = Vec::new();
    protocol.write(&mut request, PROBE_NUMBER, &PROBE);
    let answer = connection.ask(&request).await?;
    match protocol.read(&mut &*answer, PROBE_NUMBER, &PROBE) {
        Ok(Reply::Missing | Reply::Value { .. }) => Ok(()),
        Ok(Reply::Refused(refusal, text)) => Err(refusal_in_greeting(connection.server(), refusal, text)),
        _ => Err(no_echo(connection.server())),
    }
}

/// What a line refuses, if it does.
pub fn refusal_of(line: &[u8]) -> Option<Refusal> {
    let refuses = [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"].iter().any(|word| line.starts_with(word));
    refuses.then(|| Refusal::of_line(line))
}

fn refused(connection: &Handshake<'_>, line: &[u8]) -> Error {
    refusal_in_greeting(connection.server(), Refusal::of_line(line), line)
}

#[cold]
fn refusal_in_greeting(server: &str, refusal: Refusal, text: &[u8]) -> Error {
    let text = text.trim_ascii_end();
    match refusal {
        Refusal::Credentials => asks_for_credentials(server),
        other => refusal::error(server, other, text),
    }
}

#[cold]
fn refused_login(server: &str, answer: &[u8]) -> Error {
    refusal::error(server, Refusal::Credentials, answer.trim_ascii_end())
}

#[cold]
fn asks_for_credentials(server: &str) -> Error {
    Error::new(ErrorKind::Auth, format!("{server}: the server asks for credentials: set username and password"))
}

#[cold]
fn note_needless(server: &str) {
    tracing::warn!(server, "the server asks for no credentials: those that are set were not used");
}

#[cold]
fn too_old(server: &str, version: &[u8]) -> Error {
    let version = refusal::shown(version);
    let text = format!(
        "{server}: version {version} does not speak the meta protocol: memcached 1.6.10 or newer is needed, or `binary: true`"
    );
    Error::new(ErrorKind::Unsupported, text)
}

#[cold]
fn no_echo(server: &str) -> Error {
    let text = format!(
        "{server}: a request's number and name do not come back with its reply, so that replies cannot be told apart: memcached 1.6.10 or newer is needed, and no proxy that changes requests"
    );
    Error::new(ErrorKind::Unsupported, text)
}
