//! Channels: PUBLISH, and the connection of each subscription.
//!
//! A cluster hands each message to all of its nodes, so that any of them serves a subscription.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::commands::{Commands, Expected, Kind};
use super::names::ChannelNames;
use super::resp::{self, RespReader, RespValue};
use super::run::{Policy, run, unexpected};
use super::server_error;
use super::topology::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::net::{DedicatedConnection, Server, protocol_error};
use crate::util::random::cheap;

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
}

impl Channels {
    /// Makes the channels of these names.
    pub fn new(topology: Arc<Topology>, names: ChannelNames, policy: Policy, are_used: Arc<AtomicBool>) -> Self {
        Self { topology, names, policy, are_used }
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
        self.are_used.store(true, Relaxed);
        let mut commands = Commands::new(Kind::Once, self.topology.may_be_cluster());
        // All messages of a prefix go to one node of a cluster, which keeps the order of each publisher.
        commands.push_for(self.names.before(), &[b"PUBLISH", &self.names.of(channel), message], Expected::Number);
        let received = run(context, &self.topology, &commands, self.policy)
            .await
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(unexpected()))?;
        let count = received.number()?;
        if self.topology.is_cluster() { Ok(None) } else { u64::try_from(count).map(Some).map_err(|_| unexpected()) }
    }

    /// Subscribes until the feed is dropped.
    pub fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery, handle: &Handle) -> Feed {
        self.are_used.store(true, Relaxed);
        let subscriber =
            Subscriber { topology: self.topology.clone(), names: self.names.clone(), filter: filter.clone(), delivery };
        Feed::new(Aborted(handle.spawn(subscriber.run()).abort_handle()))
    }
}

/// Ends a task when it is dropped.
struct Aborted(AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
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
            backoff.pause().await;
        }
    }

    /// Subscribes, and receives messages until the connection ends; returns why.
    async fn follow(&self, confirmations: &mut Confirmations) -> Error {
        let (server, connection) = match self.connect().await {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        let request = self.request(confirmations);
        let on_frame = |frame: &[u8]| self.take(&server, confirmations, frame);
        let replaced = async {
            loop {
                sleep(LOOK).await;
                let is_known = self.topology.servers().iter().any(|known| Arc::ptr_eq(known, &server));
                if !is_known || server.has_left(&connection) {
                    let text = format!("{}: another server has taken its place", server.name());
                    return Error::new(ErrorKind::Connect, text);
                }
            }
        };
        tokio::select! {
            error = connection.listen(&request, PING, on_frame) => error,
            error = replaced => error,
        }
    }

    async fn connect(&self) -> Result<(Arc<Server>, DedicatedConnection)> {
        let servers = self.topology.primaries().await?;
        #[allow(clippy::cast_possible_truncation)] // Any number will do.
        let first = cheap() as usize % servers.len().max(1);
        // Any node of a cluster serves: one that is known to be down is the last choice.
        let mut turn = servers.iter().cycle().skip(first).take(servers.len());
        let server =
            turn.clone().find(|server| server.failure().is_none()).or_else(|| turn.next()).ok_or_else(no_server)?;
        let connection = server.connect_to_listen().await?;
        Ok((Arc::clone(server), connection))
    }

    fn request(&self, confirmations: &mut Confirmations) -> Vec<u8> {
        let mut request = Vec::new();
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

    /// Takes what the server sent.
    fn take(&self, server: &Server, confirmations: &mut Confirmations, frame: &[u8]) -> Result<()> {
        let mut elements = RespReader(frame);
        match elements.next() {
            Some(RespValue::Array(_)) => {}
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
                self.deliver(name, data, |_| true);
            }
            Some(b"pmessage") => {
                let (pattern, name, data) = (string(), string(), string());
                // A message comes once for each channel and pattern that it fits.
                let is_first = |channel: &[u8]| {
                    let first = self.filter.first_match(channel).and_then(|at| self.filter.patterns().nth(at));
                    !self.filter.has_channel(channel)
                        && first.is_some_and(|first| pattern == Some(&self.names.pattern(first)))
                };
                self.deliver(name, data, is_first);
            }
            Some(b"subscribe" | b"psubscribe") => {
                confirmations.came += 1;
                if confirmations.came == confirmations.wanted {
                    self.delivery.live();
                } else if confirmations.came == 1 {
                    self.delivery.begins();
                }
            }
            Some(b"pong") => {}
            _ => return Err(protocol_error(server.name(), "a message of an unknown kind")),
        }
        Ok(())
    }

    /// Puts a message into the inbox if it is for this subscription. One that was too long to receive is lost.
    fn deliver(&self, name: Option<&[u8]>, data: Option<&[u8]>, is_wanted: impl Fn(&[u8]) -> bool) {
        let Some(channel) = name.and_then(|name| self.names.channel(name)) else { return self.delivery.lose(1) };
        if !is_wanted(channel) {
            return;
        }
        match data {
            Some(data) => self.delivery.push(channel, data),
            None => self.delivery.lose(1),
        }
    }
}

/// Its reply has the form of a message on a connection that is subscribed to something.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

#[cold]
fn no_server() -> Error {
    Error::new(ErrorKind::Connect, "no server of the cluster is known: check the addresses and the network")
}
