//! The handshake of a new connection: credentials, database, identity of the process, and the role of the server.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;

use super::replay::Replay;
use super::resp::{RespFraming, RespReader, RespValue, command};
use super::scripts::{PROBE, ScriptSupport};
use super::zones::Zones;
use super::{server_error, server_info};
use crate::config::Address;
use crate::credentials::{CredentialSource, Credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Framing, Handshake, Identity, Protocol, ReplyLimit};
use crate::util::lock;
use crate::util::shown::shown;

/// The bytes that a string may have beyond the largest value: the header of an entry with its tags.
const HEADER_ROOM: u64 = 64 * 1024;

/// The bytes of a reply around its string, and the most bytes of a reply that is not a string.
const REPLY_ROOM: u64 = 1024;
/// Commands whose reply is short, or one value. Any other has many values, or a text as long as the server likes.
const ONE_ALONE: [&[u8]; 20] = [
    b"ASKING",
    b"AUTH",
    b"CLIENT",
    b"GET",
    b"GETRANGE",
    b"HELLO",
    b"PERSIST",
    b"PEXPIRE",
    b"PING",
    b"PTTL",
    b"PUBLISH",
    b"READONLY",
    b"SCRIPT",
    b"SELECT",
    b"SET",
    b"STRLEN",
    b"UNLINK",
    b"WAIT",
    b"ZADD",
    b"ZREM",
];
/// Commands that are sent together with others whose replies are short as well.
const ONE: [&[u8]; 5] = [b"GET", b"SET", b"UNLINK", b"PTTL", b"PEXPIRE"];

/// Returns whether the reply to a request may have many values. Of several commands that are sent together, the first
/// decides.
fn has_many(request: &[u8], replies: u32) -> bool {
    // Most requests of all, and the shortest way to tell.
    if request.starts_with(b"*2\r\n$3\r\nGET\r\n") {
        return false;
    }
    let name = request.split(|byte| *byte == b'\n').nth(2).unwrap_or_default().trim_ascii_end();
    if replies == 1 { !ONE_ALONE.contains(&name) } else { !ONE.contains(&name) }
}

/// The parameters of a handshake.
#[derive(Clone)]
pub struct Login {
    pub credentials: Arc<CredentialSource>,
    pub db: u32,
    pub max_value_bytes: u64,
    pub replay: Replay,
    pub scripts: Arc<ScriptSupport>,
    /// True once channels are used: a server that was demoted is noticed then although no removal could be lost.
    pub has_channels: Arc<AtomicBool>,
    pub zones: Arc<Zones>,
}

/// The role that a server has to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Any role.
    Any,
    /// A primary; the server is asked.
    Primary,
    /// A replica that sentinels or the configuration name; the server is asked.
    Replica,
    /// A replica of a cluster, which READONLY allows to read from.
    ClusterReplica,
}

/// The source of a server's address.
pub enum Endpoint {
    Fixed(Address),
    Resolved(Box<dyn Resolver>),
}

/// Finds the address of a server, which may change.
pub trait Resolver: Send + Sync {
    /// Returns the present address of the server of this role.
    fn resolve(&self, role: Role) -> BoxFuture<'_, Result<Address>>;
    /// Returns another address, from sources that were not asked since `resolve`; `None` if there is no other.
    fn resolve_next(&self, role: Role) -> BoxFuture<'_, Result<Option<Address>>>;
    /// Confirms that the server was at the last address.
    fn confirm(&self);
    /// Returns the number of sources that may be asked.
    fn candidates(&self) -> u32;
}

/// The reaction of a handshake to a server that is a node of a cluster.
#[derive(Clone)]
pub enum ClusterPolicy {
    /// The server is known to be one, or cannot be.
    Expected,
    /// The cluster is used as a whole: the observer is notified of the outcome.
    Detect(Arc<dyn ClusterObserver>),
    /// It is refused, as the configuration asks.
    Refuse,
}

/// Learns from a handshake whether a server is a node of a cluster.
pub trait ClusterObserver: Send + Sync {
    /// Records that the server stands alone.
    fn found_standalone(&self);
    /// Records that the server is a node of a cluster.
    fn found_cluster(&self);
}

impl ClusterPolicy {
    /// Checks whether a connection to the server may be used as it is; an error if not.
    fn check(&self, server: &str, is_node: bool) -> Result<()> {
        match self {
            Self::Detect(observer) if !is_node => observer.found_standalone(),
            Self::Detect(observer) => {
                observer.found_cluster();
                return Err(used(server));
            }
            Self::Refuse if is_node => return Err(refused(server)),
            Self::Refuse | Self::Expected => {}
        }
        Ok(())
    }
}

/// The protocol of Redis, as connections to one server use it.
pub struct Redis {
    login: Login,
    endpoint: Endpoint,
    role: Role,
    cluster_policy: ClusterPolicy,
    /// The process that replied last, on which the recent removals of this process were replayed.
    adopted: Mutex<Option<Identity>>,
}

impl Redis {
    /// Describes how to connect to a server of this role.
    pub fn new(login: Login, endpoint: Endpoint, role: Role, cluster_policy: ClusterPolicy) -> Self {
        Self { login, endpoint, role, cluster_policy, adopted: Mutex::default() }
    }

    /// Returns whether the server is used as a replica: it takes no writes, and its data may be behind at any time.
    fn is_replica(&self) -> bool {
        matches!(self.role, Role::Replica | Role::ClusterReplica)
    }

    fn adopted(&self) -> MutexGuard<'_, Option<Identity>> {
        lock(&self.adopted)
    }
}

impl Protocol for Redis {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(RespFraming::new(self.login.max_value_bytes.saturating_add(HEADER_ROOM)))
    }

    fn reply_limit(&self) -> ReplyLimit {
        let longest = self.login.max_value_bytes.saturating_add(HEADER_ROOM).saturating_add(REPLY_ROOM);
        ReplyLimit { one: usize::try_from(longest).unwrap_or(usize::MAX), has_many }
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Address>> {
        match &self.endpoint {
            Endpoint::Fixed(address) => Box::pin(async { Ok(address.clone()) }),
            Endpoint::Resolved(resolver) => resolver.resolve(self.role),
        }
    }

    fn resolve_next(&self) -> BoxFuture<'_, Result<Option<Address>>> {
        match &self.endpoint {
            Endpoint::Fixed(_) => Box::pin(async { Ok(None) }),
            Endpoint::Resolved(resolver) => resolver.resolve_next(self.role),
        }
    }

    fn candidates(&self) -> u32 {
        match &self.endpoint {
            Endpoint::Fixed(_) => 1,
            Endpoint::Resolved(resolver) => resolver.candidates(),
        }
    }

    fn credentials(&self) -> Option<&CredentialSource> {
        Some(&self.login.credentials)
    }

    fn login_request(&self, credentials: &Credentials) -> Option<Vec<u8>> {
        let mut request = Vec::new();
        command(&mut request, &auth(credentials));
        Some(request)
    }

    fn login_reply(&self, server: &str, reply: &[u8]) -> Result<()> {
        match RespReader(reply).next() {
            Some(RespValue::Error(text)) => Err(refused_login(server, text)),
            _ => Ok(()),
        }
    }

    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // Sent alone: a server that turns a client away answers one command and closes.
            self.log_in(connection).await?;
            // A name in the server's list of clients. A user without the permission has none.
            if let Err(text) = ask(connection, &[b"CLIENT", b"SETNAME", b"yokedcache"]).await?
                && let Some(error) = turned_away(connection.server(), &text)
            {
                return Err(error);
            }
            self.prepare(connection).await?;
            if let Endpoint::Resolved(resolver) = &self.endpoint {
                resolver.confirm();
            }
            Ok(())
        })
    }

    fn adopt<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let identity = connection.identity();
            let before = *self.adopted();
            if self.is_replica() || before == Some(identity) {
                return Ok(());
            }
            self.login.replay.apply(connection, before, identity).await?;
            *self.adopted() = Some(identity);
            Ok(())
        })
    }

    fn role_check(&self, identity: Identity) -> Option<&'static [u8]> {
        let has_reason = self.login.replay.is_pending() || self.login.has_channels.load(Relaxed);
        let is_checked = !self.is_replica() && identity.reported && has_reason;
        is_checked.then_some(b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n")
    }

    fn has_changed_role(&self, identity: Identity, reply: &[u8]) -> bool {
        server_info::has_changed_role(RespReader(reply), identity.history)
    }

    fn may_move(&self) -> bool {
        matches!(self.endpoint, Endpoint::Resolved(_)) && self.role == Role::Primary
    }

    fn ping(&self) -> &'static [u8] {
        b"*1\r\n$4\r\nPING\r\n"
    }
}

impl Redis {
    /// Sends the credentials, if there are any.
    async fn log_in(&self, connection: &Handshake<'_>) -> Result<()> {
        let Some(credentials) = connection.credentials() else { return Ok(()) };
        match ask(connection, &auth(&credentials)).await? {
            Ok(()) => Ok(()),
            Err(text) if is_needless(&text) => {
                tracing::warn!(
                    server = connection.server(),
                    "the server has no password: the configured one is not needed; remove it"
                );
                Ok(())
            }
            Err(text) => Err(refused_login(connection.server(), &text)),
        }
    }

    /// Sends all other commands of the handshake at once, and checks their replies.
    async fn prepare(&self, connection: &Handshake<'_>) -> Result<()> {
        let (db, wanted) = (self.login.db.to_string(), self.wanted_role());
        let mut pipeline = Pipeline::default();
        let selected = (self.login.db != 0).then(|| pipeline.push(&[b"SELECT", db.as_bytes()]));
        let readonly = (self.role == Role::ClusterReplica).then(|| pipeline.push(&[b"READONLY"]));
        let server = pipeline.push(&[b"INFO", b"server"]);
        let replication = pipeline.push(&[b"INFO", b"replication"]);
        let ping = pipeline.push(&[b"PING"]);
        let role = wanted.map(|wanted| (wanted, pipeline.push(&[b"ROLE"])));
        let is_primary = matches!(self.role, Role::Any | Role::Primary);
        let probe = is_primary.then(|| pipeline.push(&PROBE));
        let replies = pipeline.send(connection).await?;
        if let Some(RespValue::Error(text)) = selected.and_then(|selected| replies.of(selected).next()) {
            return Err(no_database(connection.server(), self.login.db, text));
        }
        self.login.zones.learn(connection.server(), server_info::zone(replies.of(server)));
        self.cluster_policy.check(connection.server(), server_info::is_node(replies.of(server)))?;
        for needed in [readonly, Some(ping)].into_iter().flatten() {
            accepted(connection, replies.of(needed))?;
        }
        if let Some(reply) = probe.and_then(|probe| replies.of(probe).next()) {
            self.login.scripts.learn(if let RespValue::Error(text) = reply { Some(text) } else { None });
        }
        connection.identify(server_info::identity(replies.of(server), replies.of(replication)));
        role.map_or(Ok(()), |(wanted, role)| check_role(connection, wanted, replies.of(role)))
    }

    fn wanted_role(&self) -> Option<&'static [u8]> {
        match self.role {
            Role::Any | Role::ClusterReplica => None,
            Role::Primary => Some(b"master"),
            Role::Replica => Some(b"slave"),
        }
    }
}

/// Returns the command that sends credentials.
fn auth(credentials: &Credentials) -> Vec<&[u8]> {
    let user = credentials.username.as_deref().map(str::as_bytes);
    [&b"AUTH"[..]].into_iter().chain(user).chain([credentials.password.expose().as_bytes()]).collect()
}

fn check_role(connection: &Handshake<'_>, wanted: &[u8], mut reply: RespReader<'_>) -> Result<()> {
    let role = reply.nth(1).and_then(RespValue::bytes).unwrap_or_default();
    if role == wanted {
        return Ok(());
    }
    let text = format!(
        "{}: the sentinels or the configuration name this server, but its role is {:?} and not {:?}: a failover may be in progress; try again later",
        connection.server(),
        shown(role, 20),
        String::from_utf8_lossy(wanted)
    );
    Err(Error::new(ErrorKind::Connect, text))
}

/// Commands that are sent together.
#[derive(Default)]
struct Pipeline {
    bytes: Vec<u8>,
    commands: u32,
}

/// Their replies.
struct PipelineReplies(Vec<u8>);

impl Pipeline {
    /// Adds a command; returns the number of its reply.
    fn push(&mut self, parts: &[&[u8]]) -> u32 {
        command(&mut self.bytes, parts);
        self.commands += 1;
        self.commands - 1
    }

    async fn send(self, connection: &Handshake<'_>) -> Result<PipelineReplies> {
        connection.ask_all(&self.bytes, self.commands).await.map(PipelineReplies)
    }
}

impl PipelineReplies {
    /// Returns the reply of a number.
    fn of(&self, number: u32) -> RespReader<'_> {
        let mut replies = RespReader(&self.0);
        for _ in 0..number {
            replies.reply();
        }
        replies.reply()
    }
}

/// Returns the error of a server that refuses the connection (protected mode, or too many clients) in place of its
/// first reply.
#[cold]
fn turned_away(server: &str, text: &[u8]) -> Option<Error> {
    if text.starts_with(b"ERR max number") {
        return Some(server_error::error(server, text));
    }
    text.starts_with(b"DENIED").then(|| {
        let text = format!(
            "{server}: the server runs in protected mode and accepts clients of its own host only: set a password on it (requirepass or an ACL user), or `protected-mode no` if the network is trusted"
        );
        Error::new(ErrorKind::Connect, text)
    })
}

/// Returns whether a password was sent to a server that has none: by the reply of Redis 6 and later, or of those before.
fn is_needless(text: &[u8]) -> bool {
    [&b"ERR AUTH <password> called without any password"[..], b"ERR Client sent AUTH, but no password is set"]
        .iter()
        .any(|needless| text.starts_with(needless))
}

#[cold]
fn no_databases(server: &str) -> Error {
    let text = format!(
        "{server}: the server is a node of a cluster, which has database 0 only: remove `db`, or use a cluster with numbered databases (Valkey 9, cluster-databases)"
    );
    Error::new(ErrorKind::Config, text)
}

#[cold]
fn refused(server: &str) -> Error {
    let text = format!(
        "{server}: the server is a node of a cluster, and `cluster: false` is set: remove it, or set `cluster: true` (redis+cluster://)"
    );
    Error::new(ErrorKind::Config, text)
}

#[cold]
fn used(server: &str) -> Error {
    let text = format!(
        "{server}: the server is a node of a cluster: all its nodes are used, as with `cluster: true` (redis+cluster://)"
    );
    Error::new(ErrorKind::Connect, text)
}

#[cold]
fn no_database(server: &str, db: u32, text: &[u8]) -> Error {
    // Redis, and Valkey before version 9.
    if memchr::memmem::find(text, b"in cluster mode").is_some() {
        return no_databases(server);
    }
    if server_error::is_missing_command(&String::from_utf8_lossy(text)) {
        let text = format!("{server}: the server refuses SELECT, so that it has the database 0 alone: remove `db`");
        return Error::new(ErrorKind::Config, text);
    }
    if text.starts_with(b"ERR") {
        let text =
            format!("{server}: the server has no database {db}: set `db` to one that it has, or raise its `databases`");
        return Error::new(ErrorKind::Config, text);
    }
    server_error::error(server, text)
}

/// Returns the error of refused credentials. The server's own text is not repeated: it could contain them.
#[cold]
fn refused_login(server: &str, text: &[u8]) -> Error {
    if let Some(error) = turned_away(server, text) {
        return error;
    }
    if text.starts_with(b"LOADING") {
        return server_error::error(server, text);
    }
    let code: String = text.iter().take_while(|byte| byte.is_ascii_uppercase()).map(|byte| char::from(*byte)).collect();
    Error::new(ErrorKind::Auth, format!("{server}: the credentials were refused ({code}): check username and password"))
}

async fn raw(connection: &Handshake<'_>, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    command(&mut request, parts);
    connection.ask(&request).await
}

/// Sends a command; returns the text of the server's error if it refuses.
async fn ask(connection: &Handshake<'_>, parts: &[&[u8]]) -> Result<std::result::Result<(), Vec<u8>>> {
    let reply = raw(connection, parts).await?;
    Ok(match RespReader(&reply).next() {
        Some(RespValue::Error(text)) => Err(text.to_vec()),
        _ => Ok(()),
    })
}

fn accepted(connection: &Handshake<'_>, mut reply: RespReader<'_>) -> Result<()> {
    match reply.next() {
        Some(RespValue::Error(text)) => Err(server_error::error(connection.server(), text)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_asks_for_many_may_be_answered_with_many() {
        let many = |commands: &[&[&[u8]]]| {
            let mut request = Vec::new();
            commands.iter().for_each(|parts| command(&mut request, parts));
            has_many(&request, u32::try_from(commands.len()).unwrap())
        };
        assert!(!many(&[&[b"GET", b"MGET"]]) && !many(&[&[b"SET", b"a", b"b"]]) && !many(&[&[b"AUTH", b"a"]]));
        assert!(many(&[&[b"MGET", b"a"]]) && many(&[&[b"SCAN", b"0"]]) && many(&[&[b"CLUSTER", b"SLOTS"]]));
        assert!(!many(&[&[b"GET", b"a"], &[b"GET", b"b"]]) && many(&[&[b"MGET", b"a"], &[b"MGET", b"b"]]));
    }
}
