//! Events on Redis: PUBLISH on a channel of the prefix, and with the option `events_journal` XADD to a stream as well.
//!
//! On a single server the commands are sent together with those of the change. In a cluster, where another node may carry
//! them out first, they follow the change. A reader subscribes to the channel; with a journal it reads the stream from its
//! position on, so that an outage costs it no event that the stream still has. <https://redis.io/docs/data-types/streams>

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::channels::{Channels, no_server};
use super::commands::{Commands, Expected, Kind};
use super::names;
use super::record::Record;
use super::resp::{self, RespReader, RespValue};
use super::run::{Policy, run};
use super::server_error;
use super::topology::Topology;
use crate::backend::remote::Outbox;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Draft, Origin};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::exec::runtime::AbortOnDrop;
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::net::{DedicatedConnection, Identity, Server, protocol_error};

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// The longest time that the close of a cache waits for its last events.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// The time that the server waits for new events of a journal, in milliseconds, and the time in which it has to answer.
const BLOCK: &[u8] = b"1000";
const PATIENCE: Duration = Duration::from_millis(2500);
/// The most events that are read at once.
const COUNT: &[u8] = b"16";
/// The name of the field of an event in the stream.
const FIELD: &[u8] = b"e";

/// The events of a prefix on Redis servers.
pub struct Events {
    wire: Arc<Wire>,
    _sender: AbortOnDrop,
}

/// The way on which events are sent.
struct Wire {
    topology: Arc<Topology>,
    channels: Channels,
    policy: Policy,
    outbox: Arc<Outbox>,
    journal: Option<Journal>,
    /// The removals that are repeated on a server that has lost them.
    record: Arc<Record>,
}

/// The stream that keeps the last events.
#[derive(Clone)]
struct Journal {
    name: Vec<u8>,
    /// The number of events that it keeps at least.
    keeps: u64,
}

impl Events {
    /// Makes the events of a prefix, and begins to send those that wait. `journal` is the number of events that the journal
    /// keeps; 0: there is none.
    pub fn new(
        topology: Arc<Topology>,
        channels: Channels,
        policy: Policy,
        prefix: &str,
        journal: u64,
        record: Arc<Record>,
        handle: &Handle,
    ) -> Result<Self> {
        let journal = (journal > 0).then(|| Journal { name: names::journal(prefix), keeps: journal });
        let wire = Arc::new(Wire { topology, channels, policy, outbox: Outbox::new(Origin::new()?), journal, record });
        let sender = AbortOnDrop::spawn(handle, Arc::clone(&wire).send());
        Ok(Self { wire, _sender: sender })
    }

    /// Returns the messages that wait to be sent.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.wire.outbox
    }

    /// Returns true if the events of a change may be sent together with it: one server carries them out in this order, and no
    /// earlier ones wait.
    pub fn accompany(&self) -> bool {
        !self.wire.topology.may_be_cluster() && self.wire.outbox.is_empty()
    }

    /// Sends a message without events. Fails if the user may not send them; what else keeps them from being sent may pass.
    pub async fn connected(&self, context: CallContext) -> Result<()> {
        match self.wire.publish_nothing(context).await {
            Err(error) if error.kind() == ErrorKind::Denied => {
                Err(Error::new(ErrorKind::Denied, format!("option events: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Adds the commands that send messages.
    pub fn push(&self, commands: &mut Commands, messages: &[Draft]) {
        self.wire.push(commands, messages);
    }

    /// Delivers the events until the feed is dropped.
    pub fn listen(&self, delivery: Delivery, handle: &Handle) -> Result<Feed> {
        let delivery = delivery.of(self.wire.outbox.origin.number);
        match &self.wire.journal {
            None => {
                let filter = Arc::new(Filter::new(&[names::EVENTS], &[], 0)?);
                Ok(self.wire.channels.subscribe(&filter, delivery, handle))
            }
            Some(journal) => {
                let (wire, name) = (Arc::clone(&self.wire), journal.name.clone());
                let reader = JournalReader { wire, name, delivery, position: None };
                Ok(Feed::new(AbortOnDrop::spawn(handle, reader.run())))
            }
        }
    }

    /// Waits until the events that wait are sent, for a moment at most.
    pub async fn close(&self, context: CallContext, deadline: Instant) {
        let end = deadline.min(Instant::now() + LAST_EVENTS);
        if context.run_until(end, |_| self.wire.outbox.ended()).await.is_none() {
            tracing::warn!("the last events were not sent: the server did not answer in time");
        }
    }
}

impl Wire {
    fn push(&self, commands: &mut Commands, messages: &[Draft]) {
        for message in messages {
            if let Some(Journal { name, keeps }) = &self.journal {
                let keeps = keeps.to_string();
                let parts: [&[u8]; 8] =
                    [b"XADD", name, b"MAXLEN", b"~", keeps.as_bytes(), b"*", FIELD, message.bytes()];
                commands.push_for(name, &parts, Expected::Any);
            }
            self.channels.push(commands, names::EVENTS, message.bytes());
        }
    }

    /// Sends what waits, in its order, until the cache is closed.
    async fn send(self: Arc<Self>) {
        while let Err(payload) = AssertUnwindSafe(self.send_all()).catch_unwind().await {
            tracing::warn!("{}", Error::panicked("the sender of events", payload));
            self.outbox.sent();
        }
    }

    async fn send_all(&self) {
        let mut backoff = Backoff::between(CallContext::task(), PAUSES.0, PAUSES.1);
        let mut repeated = self.record.repeated();
        loop {
            let mut messages = tokio::select! {
                messages = self.outbox.next() => messages,
                _ = repeated.changed() => {
                    // Removals were repeated on a server that may have lost them. Their events came before.
                    vec![self.outbox.origin.gap()]
                }
            };
            self.outbox.number(&mut messages);
            let mut is_refused = false;
            while let Err(error) = self.publish(CallContext::task(), &mut messages).await {
                if error.kind() == ErrorKind::Closed {
                    return;
                }
                self.outbox.held_up();
                let is_new = !error.is_outage() && !std::mem::replace(&mut is_refused, true);
                if is_new {
                    tracing::warn!("the events of this cache wait, because the server refuses them: {error}");
                }
                backoff.pause().await;
            }
            backoff.reset();
            self.outbox.sent();
        }
    }

    async fn publish_nothing(&self, context: CallContext) -> Result<()> {
        let mut message = vec![self.outbox.origin.nothing()];
        self.outbox.number(&mut message);
        self.publish(context, &mut message).await
    }

    /// Sends messages; those that fail are left.
    async fn publish(&self, context: CallContext, messages: &mut Vec<Draft>) -> Result<()> {
        let mut commands = Commands::new(Kind::Repeatable, self.topology.may_be_cluster());
        self.push(&mut commands, messages);
        let each = commands.len().checked_div(messages.len()).unwrap_or(1);
        let mut received = run(context, &self.topology, &commands, self.policy).await.into_iter();
        let mut first = Ok(());
        messages.retain(|_| {
            let replies: Vec<_> = received.by_ref().take(each).collect();
            let sent = replies.into_iter().try_for_each(|received| received.map(drop));
            let is_left = sent.is_err();
            first = std::mem::replace(&mut first, Ok(())).and(sent);
            is_left
        });
        first
    }
}

/// The task that reads a journal.
struct JournalReader {
    wire: Arc<Wire>,
    /// The name of the journal.
    name: Vec<u8>,
    delivery: Delivery,
    position: Option<Position>,
}

/// The last event that was read.
struct Position {
    /// The server that it was read from. Another one, or the same after a restart, may lack what came behind.
    server: Identity,
    /// The identifier in the stream.
    event: Vec<u8>,
}

impl JournalReader {
    /// Reads again and again, until the server refuses for good.
    async fn run(mut self) {
        let mut backoff = Backoff::between(CallContext::task(), PAUSES.0, PAUSES.1);
        loop {
            let mut is_refused = false;
            let mut has_read = false;
            let following = AssertUnwindSafe(self.follow(&mut is_refused, &mut has_read)).catch_unwind().await;
            let error = match following {
                Ok(Ok(never)) => match never {},
                Ok(Err(error)) => error,
                Err(payload) => Error::panicked("a reader of events", payload),
            };
            if is_refused && error.kind() == ErrorKind::Denied {
                return self.delivery.end(error);
            }
            if has_read {
                tracing::warn!("a reader of events was interrupted: {error}");
                backoff.reset();
            }
            self.delivery.down(error);
            self.wire.topology.mark_outdated();
            backoff.pause().await;
        }
    }

    /// Reads until the connection ends.
    async fn follow(&mut self, is_refused: &mut bool, has_read: &mut bool) -> Result<std::convert::Infallible> {
        self.wire.topology.connected().await?;
        let server = self.owner().ok_or_else(|| self.wire.topology.unknown().unwrap_or_else(no_server))?;
        let connection = server.connect_dedicated().await?;
        let resumed = self.find_position(&server, &connection, is_refused).await?;
        *has_read = true;
        if resumed {
            self.delivery.resumed()
        } else {
            self.delivery.live()
        }
        loop {
            server.renew_login(&connection).await?;
            self.read(&server, &connection, is_refused).await?;
            let is_owner = self.owner().is_some_and(|owner| Arc::ptr_eq(&owner, &server));
            if !is_owner || server.has_left(&connection) {
                let text = format!("{}: another server has taken its place", server.name());
                return Err(Error::new(ErrorKind::Connect, text));
            }
        }
    }

    fn owner(&self) -> Option<Arc<Server>> {
        self.wire.topology.owner(names::slot(&self.name), false)
    }

    /// Finds out where to read on. Returns true if no event is missing there.
    async fn find_position(
        &mut self,
        server: &Server,
        connection: &DedicatedConnection,
        is_refused: &mut bool,
    ) -> Result<bool> {
        let identity = connection.identity();
        let before = self.position.as_ref().filter(|it| it.server == identity && identity.reported);
        if let Some(Position { event, .. }) = before {
            let mut request = Vec::new();
            resp::command(&mut request, &[b"XRANGE", &self.name, event, event]);
            let bytes = ask(connection, &request, 1).await?;
            if !entries(server, RespReader(&bytes), is_refused)?.is_empty() {
                return Ok(true);
            }
        }
        let mut request = Vec::new();
        resp::command(&mut request, &[b"XREVRANGE", &self.name, b"+", b"-", b"COUNT", b"1"]);
        let bytes = ask(connection, &request, 1).await?;
        let last = entries(server, RespReader(&bytes), is_refused)?.first().map(|(id, _)| id.to_vec());
        let Some(event) = last else {
            // An empty journal gets an entry: its beginning could not be distinguished from that of another.
            self.wire.publish_nothing(CallContext::task()).await?;
            return Box::pin(self.find_position(server, connection, is_refused)).await;
        };
        self.position = Some(Position { server: identity, event });
        Ok(false)
    }

    /// Reads the next events, and waits for them for a while.
    async fn read(&mut self, server: &Server, connection: &DedicatedConnection, is_refused: &mut bool) -> Result<()> {
        let Some(position) = &mut self.position else { return Ok(()) };
        let (name, at) = (&self.name, &position.event);
        let mut request = Vec::new();
        let parts: [&[u8]; 8] = [b"XREAD", b"COUNT", COUNT, b"BLOCK", BLOCK, b"STREAMS", name, at];
        resp::command(&mut request, &parts);
        // Looked at behind the read: what is still there has not been cut off in front of what was read.
        resp::command(&mut request, &[b"XRANGE", name, at, at]);
        let bytes = ask(connection, &request, 2).await?;
        let mut replies = RespReader(&bytes);
        let (mut read, known) = (replies.reply(), replies.reply());
        let is_known = !entries(server, known, is_refused)?.is_empty();
        let events = match read.clone().next() {
            Some(RespValue::Null | RespValue::Bulk(None)) => Vec::new(),
            Some(RespValue::Array(1)) => {
                read.next();
                match (read.next(), read.next()) {
                    (Some(RespValue::Array(2)), Some(RespValue::Bulk(_))) => entries(server, read, is_refused)?,
                    _ => return Err(unexpected_form(server)),
                }
            }
            _ => entries(server, read, is_refused)?,
        };
        if !is_known {
            self.delivery.lose_unknown();
        }
        for (id, event) in &events {
            self.delivery.push(b"", event);
            position.event = id.to_vec();
        }
        // Without its last event the journal began anew, or none has come since.
        if is_known || !events.is_empty() { Ok(()) } else { Err(began_anew(server)) }
    }
}

async fn ask(connection: &DedicatedConnection, request: &[u8], replies: u32) -> Result<Vec<u8>> {
    let answered = timeout(PATIENCE, connection.ask_all(request, replies)).await;
    answered.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "the server did not answer in time")))
}

/// Reads the entries of a stream: an identifier and the event of each.
fn entries<'a>(server: &Server, mut reply: RespReader<'a>, is_refused: &mut bool) -> Result<Vec<(&'a [u8], &'a [u8])>> {
    let count = match reply.next() {
        Some(RespValue::Array(count)) => count,
        Some(RespValue::Error(text)) => {
            *is_refused = true;
            return Err(server_error::of_command(server.name(), text));
        }
        _ => return Err(unexpected_form(server)),
    };
    let mut entries = Vec::new();
    for _ in 0..count {
        let (Some(RespValue::Array(2)), Some(RespValue::Bulk(Some(id)))) = (reply.next(), reply.next()) else {
            return Err(unexpected_form(server));
        };
        let Some(RespValue::Array(fields)) = reply.next() else { return Err(unexpected_form(server)) };
        let mut event: &[u8] = b"";
        for at in 0..fields {
            match reply.next() {
                Some(RespValue::Bulk(Some(bytes))) if at == 1 => event = bytes,
                Some(RespValue::Bulk(_)) => {}
                _ => return Err(unexpected_form(server)),
            }
        }
        entries.push((id, event));
    }
    Ok(entries)
}

#[cold]
fn unexpected_form(server: &Server) -> Error {
    protocol_error(server.name(), "a reply about the journal of events of another form")
}

#[cold]
fn began_anew(server: &Server) -> Error {
    Error::new(ErrorKind::Connect, format!("{}: the journal of events has begun anew", server.name()))
}
