//! Channels: PUBLISH, and the connection of each subscription.
//!
//! A cluster hands each message to all of its nodes, but may lose it on the way to another one. The publications and the
//! subscriptions of a prefix meet at one node, the owner of a slot.

use std::hash::BuildHasher;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use foldhash::fast::SeedableRandomState;
use futures_util::FutureExt;
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::commands::{Commands, Expected, Kind};
use super::names::{self, ChannelNames};
use super::resp::{self, RespReader, RespValue};
use super::run::{Policy, run, unexpected};
use super::server_error;
use super::topology::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::exec::runtime::AbortOnDrop;
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::net::{Beat, DedicatedConnection, Listener, Server, protocol_error};
use crate::util::random;

/// The first and the longest pause between two attempts to subscribe.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// The time between two looks whether the server of a subscription has been replaced.
const LOOK: Duration = Duration::from_secs(1);

/// The channels of a prefix on Redis servers.
pub struct Channels {
    topology: Arc<Topology>,
    names: ChannelNames,
    policy: Policy,
    /// Set at the first use.
    are_used: Arc<AtomicBool>,
    /// The number of connections that had been replaced at the last publication.
    reconnects: AtomicU64,
}

impl Channels {
    /// Makes the channels of these names.
    pub fn new(topology: Arc<Topology>, names: ChannelNames, policy: Policy, are_used: Arc<AtomicBool>) -> Self {
        Self { topology, names, policy, are_used, reconnects: AtomicU64::new(0) }
    }

    /// Waits until the servers can be used, or fails with the reason why not.
    pub async fn connected(&self) -> Result<()> {
        self.topology.connected().await
    }

    /// Closes the connections of channels that have servers of their own.
    pub async fn close(&self, context: CallContext, deadline: Instant) {
        self.topology.close(context, deadline).await;
    }

    /// Sends a message to the subscribers of a channel; returns their number, if a single server knows it.
    pub async fn publish(&self, context: CallContext, channel: &[u8], message: &[u8]) -> Result<Option<u64>> {
        let mut commands = Commands::new(Kind::Once, self.topology.may_be_cluster());
        self.push(&mut commands, channel, message);
        let received = run(context, &self.topology, &commands, self.policy)
            .await
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(unexpected()))?;
        let count = received.number()?;
        if self.topology.is_cluster() { Ok(None) } else { u64::try_from(count).map(Some).map_err(|_| unexpected()) }
    }

    /// Adds the command that sends a message, to be run with others.
    pub fn push(&self, commands: &mut Commands, channel: &[u8], message: &[u8]) {
        self.are_used.store(true, Relaxed);
        self.look_at_cluster();
        // All messages of a prefix go to one node of a cluster, which keeps the order of each publisher.
        commands.push_for(self.names.before(), &[b"PUBLISH", &self.names.of(channel), message], Expected::Number);
    }

    /// Has the map of a cluster learned again after a connection was replaced: no reply to PUBLISH says that the node is no
    /// longer the owner, or not even part of the cluster.
    fn look_at_cluster(&self) {
        if self.topology.is_cluster() {
            let reconnects = self.topology.servers().iter().map(|server| server.reconnects()).sum();
            if self.reconnects.swap(reconnects, Relaxed) != reconnects {
                self.topology.mark_outdated();
            }
        }
    }

    /// Subscribes until the feed is dropped.
    pub fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery, handle: &Handle) -> Feed {
        self.are_used.store(true, Relaxed);
        let subscriber =
            Subscriber { topology: self.topology.clone(), names: self.names.clone(), filter: filter.clone(), delivery };
        Feed::new(AbortOnDrop::spawn(handle, subscriber.run()))
    }
}

/// The task of a subscription.
struct Subscriber {
    topology: Arc<Topology>,
    names: ChannelNames,
    filter: Arc<Filter>,
    delivery: Delivery,
}

/// The answers of the server to the request.
#[derive(Default)]
struct Confirmations {
    /// The number of channels and patterns that were requested.
    wanted: usize,
    /// The number of those that the server has confirmed.
    came: usize,
    /// True if the server refused.
    is_refused: bool,
}

impl Subscriber {
    /// Subscribes again and again, until the server refuses for good.
    async fn run(self) {
        let mut backoff = Backoff::between(CallContext::task(), PAUSES.0, PAUSES.1);
        loop {
            let mut confirmations = Confirmations::default();
            let following = AssertUnwindSafe(self.follow(&mut confirmations)).catch_unwind().await;
            let error = following.unwrap_or_else(|payload| Error::panicked("a subscription", payload));
            if confirmations.is_refused && error.kind() == ErrorKind::Denied {
                return self.delivery.end(error);
            }
            if confirmations.wanted > 0 && confirmations.came == confirmations.wanted {
                tracing::warn!("a subscription was interrupted: {error}");
                backoff.reset();
            }
            self.delivery.down(error);
            self.topology.mark_outdated();
            backoff.pause().await;
        }
    }

    /// Subscribes, and receives messages until the connection ends; returns why.
    async fn follow(&self, confirmations: &mut Confirmations) -> Error {
        let (server, connection) = match self.connect().await {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        // RESP3 alone has a place for the login that follows new credentials.
        let (asks, is_resp3) = (server.renews_credentials(), AtomicBool::new(false));
        let request = self.request(asks, confirmations);
        let mut receiver = Receiver {
            subscriber: self,
            server: &server,
            connection: &connection,
            confirmations,
            copies: Copies::new(),
            is_asking: asks,
            is_resp3: &is_resp3,
            logins: 0,
        };
        let replaced = async {
            loop {
                sleep(LOOK).await;
                let is_owner = self.owner().is_some_and(|owner| Arc::ptr_eq(&owner, &server));
                if !is_owner || server.has_left(&connection) {
                    let text = format!("{}: another server has taken its place", server.name());
                    return Error::new(ErrorKind::Connect, text);
                }
                if !is_resp3.load(Relaxed) && server.has_newer_credentials(&connection) {
                    let text = format!("{}: a connection with newer credentials takes its place", server.name());
                    return Error::new(ErrorKind::Connect, text);
                }
            }
        };
        tokio::select! {
            error = connection.listen(&request, BEAT, &mut receiver) => error,
            error = replaced => error,
        }
    }

    /// Returns the server that the publications go to.
    fn owner(&self) -> Option<Arc<Server>> {
        self.topology.owner(names::slot(self.names.before()), false)
    }

    async fn connect(&self) -> Result<(Arc<Server>, DedicatedConnection)> {
        self.topology.connected().await?;
        let server = self.owner().ok_or_else(|| self.topology.unknown().unwrap_or_else(no_server))?;
        let connection = server.connect_to_listen().await?;
        Ok((server, connection))
    }

    fn request(&self, asks_for_resp3: bool, confirmations: &mut Confirmations) -> Vec<u8> {
        let mut request = Vec::new();
        if asks_for_resp3 {
            resp::command(&mut request, &[b"HELLO", b"3"]);
        }
        let channels: Vec<Vec<u8>> = self.filter.channels().map(|channel| self.names.of(channel)).collect();
        let patterns: Vec<Vec<u8>> = self.filter.patterns().map(|pattern| self.names.pattern(pattern)).collect();
        for (command, names) in [(&b"SUBSCRIBE"[..], &channels), (b"PSUBSCRIBE", &patterns)] {
            if !names.is_empty() {
                let parts: Vec<&[u8]> = [command].into_iter().chain(names.iter().map(|name| &name[..])).collect();
                resp::command(&mut request, &parts);
                confirmations.wanted += names.len();
            }
        }
        request
    }

    /// Puts a message into the inbox if it is for this subscription. One that was too long to receive is lost.
    fn deliver(&self, name: Option<&[u8]>, data: Option<&[u8]>) {
        match (name.and_then(|name| self.names.channel(name)), data) {
            (Some(channel), _) if !self.filter.selects(channel) => {}
            (Some(channel), Some(data)) => self.delivery.push(channel, data),
            _ => self.delivery.lose(1),
        }
    }
}

/// Takes the messages of a connection.
struct Receiver<'a> {
    subscriber: &'a Subscriber,
    server: &'a Server,
    connection: &'a DedicatedConnection,
    confirmations: &'a mut Confirmations,
    copies: Copies,
    /// True until the reply to HELLO has come.
    is_asking: bool,
    is_resp3: &'a AtomicBool,
    /// The number of logins whose reply has not come.
    logins: u32,
}

impl Listener for Receiver<'_> {
    /// Takes what the server sent.
    fn take(&mut self, frame: &[u8]) -> Result<()> {
        let Self { subscriber, server, connection, confirmations, copies, is_asking, is_resp3, logins } = self;
        let mut elements = RespReader(frame);
        match elements.next() {
            Some(RespValue::Array(_) | RespValue::Push(_)) => {}
            Some(reply) if *is_asking => {
                // A server without RESP3 refuses it, also to a user who may not ask.
                *is_asking = false;
                is_resp3.store(matches!(reply, RespValue::Map(_)), Relaxed);
                return Ok(());
            }
            Some(RespValue::Status(_) | RespValue::Error(_)) if *logins > 0 => {
                *logins -= 1;
                server.check_login(connection, frame);
                return Ok(());
            }
            // To a beat.
            Some(RespValue::Status(_)) if is_resp3.load(Relaxed) => return Ok(()),
            Some(RespValue::Error(text)) => {
                confirmations.is_refused = confirmations.came < confirmations.wanted;
                return Err(server_error::of_command(server.name(), text));
            }
            _ => return Err(protocol_error(server.name(), "a message that is no array")),
        }
        let mut string = || match elements.next() {
            Some(RespValue::Bulk(bytes)) => bytes,
            _ => None,
        };
        match string() {
            Some(b"message") => {
                let (name, data) = (string(), string());
                if copies.is_first(name, data, None) {
                    subscriber.deliver(name, data);
                }
            }
            Some(b"pmessage") => {
                let (pattern, name, data) = (string(), string(), string());
                if copies.is_first(name, data, pattern) {
                    subscriber.deliver(name, data);
                }
            }
            Some(b"subscribe" | b"psubscribe") => {
                confirmations.came += 1;
                if confirmations.came == confirmations.wanted {
                    subscriber.delivery.live();
                } else if confirmations.came == 1 {
                    subscriber.delivery.begins();
                }
            }
            Some(b"pong") => {}
            _ => return Err(protocol_error(server.name(), "a message of an unknown kind")),
        }
        Ok(())
    }

    fn request(&mut self) -> Option<Vec<u8>> {
        if !self.is_resp3.load(Relaxed) {
            return None;
        }
        let login = self.server.login_request(self.connection)?;
        self.logins += 1;
        Some(login)
    }
}

/// Recognizes the copies of a message. A server sends one for the name of its channel, and one for each pattern that matches,
/// without another message between them.
struct Copies {
    hasher: SeedableRandomState,
    /// The hash of the last message, and those of the patterns that its copies came for.
    message: u64,
    patterns: SmallVec<[u64; 4]>,
}

impl Copies {
    fn new() -> Self {
        Self { hasher: random::hasher(), message: 0, patterns: SmallVec::new() }
    }

    /// Returns true for the first copy of a message, which came for this pattern; `None`: for the name of the channel.
    fn is_first(&mut self, name: Option<&[u8]>, data: Option<&[u8]>, pattern: Option<&[u8]>) -> bool {
        let (message, pattern) = (self.hasher.hash_one((name, data)), self.hasher.hash_one(pattern));
        // The same pattern again: it is another message, which is equal.
        let is_copy = message == self.message && !self.patterns.contains(&pattern);
        if !is_copy {
            self.message = message;
            self.patterns.clear();
        }
        self.patterns.push(pattern);
        !is_copy
    }
}

/// The reply to PING has the form of a message on a connection that is subscribed to something.
const BEAT: Beat<'_> =
    Beat { request: b"*1\r\n$4\r\nPING\r\n", every: Duration::from_secs(1), patience: Duration::from_millis(1500) };

#[cold]
pub fn no_server() -> Error {
    Error::new(ErrorKind::Connect, "no server of the cluster is known: check the addresses and the network")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_from_its_copies_and_from_an_equal_one() {
        let mut copies = Copies::new();
        let mut first =
            |data: &'static [u8], pattern: Option<&'static [u8]>| copies.is_first(Some(b"c"), Some(data), pattern);
        let (one, two) = (Some(&b"*"[..]), Some(&b"c*"[..]));
        assert_eq!([first(b"1", None), first(b"1", one), first(b"1", two)], [true, false, false]);
        assert_eq!([first(b"1", None), first(b"1", two), first(b"1", one)], [true, false, false]);
        assert_eq!(
            [first(b"2", one), first(b"2", two), first(b"2", two), first(b"2", one)],
            [true, false, true, false]
        );
        assert_eq!([first(b"3", one), first(b"3", one), first(b"1", one)], [true, true, true]);
    }
}
