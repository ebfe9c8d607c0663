//! What a new connection says first: who it is, which database, and whether the server is the one that is wanted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use super::found::Clustering;
use super::replay::Replay;
use super::resp::{RepliesOf, Reply, RespFraming, command};
use super::sentinel::Sentinels;
use super::{info, refusal};
use crate::config::{Address, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Framing, Handshake, Identity, Protocol, ReplyLimit};
use crate::shown::shown;

/// How long a string may be beyond the largest value: the header of an entry with its tags.
const HEADER_ROOM: u64 = 64 * 1024;

/// The bytes of a reply around its string, and the most bytes of a reply that is not a string.
const REPLY_ROOM: u64 = 1024;
/// Commands whose reply has many values, or a text as long as the server likes.
const MANY: [&[u8]; 8] = [b"MGET", b"SCAN", b"ZRANGE", b"CLUSTER", b"SENTINEL", b"INFO", b"ROLE", b"CONFIG"];
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
    if replies == 1 { MANY.contains(&name) } else { !ONE.contains(&name) }
}

/// Who connects, and to what.
#[derive(Clone)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub db: u32,
    pub max_value_bytes: u64,
    pub replay: Replay,
}

/// What the server has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whatever answers there.
    Any,
    /// A primary, and the server is asked.
    Primary,
    /// A replica that sentinels know, and the server is asked.
    Replica,
    /// A replica of a cluster, which has to be told that it will be read from.
    ClusterReplica,
}

/// Where a server is to be found.
pub enum Place {
    At(Address),
    By(Box<Sentinels>),
}

/// How Redis is connected to.
pub struct Redis {
    pub login: Login,
    pub place: Place,
    pub role: Role,
    pub clustering: Clustering,
    /// The process that answered last, and has all that this one removed lately.
    adopted: Mutex<Option<Identity>>,
}

impl Redis {
    /// Describes how to connect to a server of this role.
    pub fn new(login: Login, place: Place, role: Role, clustering: Clustering) -> Self {
        Self { login, place, role, clustering, adopted: Mutex::default() }
    }

    fn adopted(&self) -> MutexGuard<'_, Option<Identity>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
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
        Box::pin(async move {
            match &self.place {
                Place::At(address) => Ok(address.clone()),
                Place::By(sentinels) => sentinels.resolve(self.role).await,
            }
        })
    }

    fn resolve_next(&self) -> BoxFuture<'_, Result<Option<Address>>> {
        match &self.place {
            Place::At(_) => Box::pin(async { Ok(None) }),
            Place::By(sentinels) => sentinels.resolve_next(self.role),
        }
    }

    fn candidates(&self) -> u32 {
        match &self.place {
            Place::At(_) => 1,
            Place::By(sentinels) => sentinels.count(),
        }
    }

    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // Alone: a server that turns a client away answers one command and closes.
            self.log_in(connection).await?;
            // Only a name in the server's list of clients: whoever may not set it does without.
            if let Err(text) = ask(connection, &[b"CLIENT", b"SETNAME", b"yokedcache"]).await?
                && let Some(error) = turned_away(connection.server(), &text)
            {
                return Err(error);
            }
            self.prepare(connection).await?;
            if let Place::By(sentinels) = &self.place {
                sentinels.confirm();
            }
            Ok(())
        })
    }

    fn adopt<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let identity = connection.identity();
            // A replica takes no writes; what it has may be behind at any time.
            let is_replica = matches!(self.role, Role::Replica | Role::ClusterReplica);
            let before = *self.adopted();
            if is_replica || before == Some(identity) {
                return Ok(());
            }
            self.login.replay.repeat(connection, before, identity).await?;
            *self.adopted() = Some(identity);
            Ok(())
        })
    }

    fn may_move(&self) -> bool {
        matches!(self.place, Place::By(_)) && self.role == Role::Primary
    }

    fn ping(&self) -> &'static [u8] {
        b"*1\r\n$4\r\nPING\r\n"
    }
}

impl Redis {
    async fn log_in(&self, connection: &Handshake<'_>) -> Result<()> {
        let Some(password) = &self.login.password else { return Ok(()) };
        let (user, password) = (self.login.username.as_deref(), password.expose().as_bytes());
        let parts: Vec<&[u8]> =
            [b"AUTH"].iter().map(|name| &name[..]).chain(user.map(str::as_bytes)).chain([password]).collect();
        match ask(connection, &parts).await? {
            Ok(()) => Ok(()),
            Err(text) if is_needless(&text) => {
                tracing::warn!(
                    server = connection.server(),
                    "the server has no password: the one that is set is not needed"
                );
                Ok(())
            }
            Err(text) => Err(refused_login(connection.server(), &text)),
        }
    }

    /// Asks all that is left at once.
    async fn prepare(&self, connection: &Handshake<'_>) -> Result<()> {
        let (db, wanted) = (self.login.db.to_string(), self.wanted_role());
        let mut asked = Asked::default();
        let selected = (self.login.db != 0).then(|| asked.push(&[b"SELECT", db.as_bytes()]));
        let readonly = (self.role == Role::ClusterReplica).then(|| asked.push(&[b"READONLY"]));
        let server = asked.push(&[b"INFO", b"server"]);
        let replication = asked.push(&[b"INFO", b"replication"]);
        let ping = asked.push(&[b"PING"]);
        let role = wanted.map(|wanted| (wanted, asked.push(&[b"ROLE"])));
        let replies = asked.send(connection).await?;
        self.clustering.check(connection.server(), info::is_node(replies.of(server)), self.login.db)?;
        if let Some(Reply::Error(text)) = selected.and_then(|selected| replies.of(selected).next()) {
            return Err(no_database(connection.server(), self.login.db, text));
        }
        for needed in [readonly, Some(ping)].into_iter().flatten() {
            accepted(connection, replies.of(needed))?;
        }
        connection.identify(info::identity(replies.of(server), replies.of(replication)));
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

fn check_role(connection: &Handshake<'_>, wanted: &[u8], mut reply: RepliesOf<'_>) -> Result<()> {
    let role = reply.nth(1).and_then(Reply::bytes).unwrap_or_default();
    if role == wanted {
        return Ok(());
    }
    let text = format!(
        "{}: the sentinels name it, but its role is {:?} and not {:?}: a failover may be under way",
        connection.server(),
        shown(role, 20),
        String::from_utf8_lossy(wanted)
    );
    Err(Error::new(ErrorKind::Connect, text))
}

/// Commands that are sent together.
#[derive(Default)]
struct Asked {
    bytes: Vec<u8>,
    commands: u32,
}

/// Their replies.
struct Answered(Vec<u8>);

impl Asked {
    /// Adds a command; the number of its reply.
    fn push(&mut self, parts: &[&[u8]]) -> u32 {
        command(&mut self.bytes, parts);
        self.commands += 1;
        self.commands - 1
    }

    async fn send(self, connection: &Handshake<'_>) -> Result<Answered> {
        connection.ask_all(&self.bytes, self.commands).await.map(Answered)
    }
}

impl Answered {
    fn of(&self, number: u32) -> RepliesOf<'_> {
        let mut replies = RepliesOf(&self.0);
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
        return Some(refusal::error(server, text));
    }
    text.starts_with(b"DENIED").then(|| {
        let text = format!(
            "{server}: the server runs in protected mode and takes clients of its own host alone: set a password on it (requirepass or an ACL user), or `protected-mode no` where the network is trusted"
        );
        Error::new(ErrorKind::Connect, text)
    })
}

/// A password was sent to a server that has none: the reply of Redis 6 and later, and of those before.
fn is_needless(text: &[u8]) -> bool {
    [&b"ERR AUTH <password> called without any password"[..], b"ERR Client sent AUTH, but no password is set"]
        .iter()
        .any(|needless| text.starts_with(needless))
}

#[cold]
fn no_database(server: &str, db: u32, text: &[u8]) -> Error {
    if text.starts_with(b"ERR") {
        let text =
            format!("{server}: the server has no database {db}: set `db` to one that it has, or raise its `databases`");
        return Error::new(ErrorKind::Config, text);
    }
    refusal::error(server, text)
}

/// The server's own text is not repeated: it could hold what was sent.
#[cold]
fn refused_login(server: &str, text: &[u8]) -> Error {
    if let Some(error) = turned_away(server, text) {
        return error;
    }
    if text.starts_with(b"LOADING") {
        return refusal::error(server, text);
    }
    let code: String = text.iter().take_while(|byte| byte.is_ascii_uppercase()).map(|byte| char::from(*byte)).collect();
    Error::new(ErrorKind::Auth, format!("{server}: the credentials were refused ({code}): check username and password"))
}

async fn raw(connection: &Handshake<'_>, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    command(&mut request, parts);
    connection.ask(&request).await
}

/// The reply, or the text of the server's refusal.
async fn ask(connection: &Handshake<'_>, parts: &[&[u8]]) -> Result<std::result::Result<(), Vec<u8>>> {
    let reply = raw(connection, parts).await?;
    Ok(match RepliesOf(&reply).next() {
        Some(Reply::Error(text)) => Err(text.to_vec()),
        _ => Ok(()),
    })
}

fn accepted(connection: &Handshake<'_>, mut reply: RepliesOf<'_>) -> Result<()> {
    match reply.next() {
        Some(Reply::Error(text)) => Err(refusal::error(connection.server(), text)),
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
